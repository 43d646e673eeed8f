"""The cluster: who gets which worker, and what a worker does with a session.

settings      one settings tree                      errors     one error tree
records       session record, grant, ticket          api        what actors say to each other
store, keys   Redis: sessions, epochs, snapshots; API keys      redis_server  the embedded server
policy        the pool: queue, grants, scale (pure)  allocator  the actor around it; fleet: its workers
worker        one GPU, one replica, session slots    session    one session in a slot
publishers    who feeds the inbound tracks           commands  from a message to the director
scheduler     when the next chunk starts             arbiter    whose chunk is next on the device
remote        Ray behind the actor protocols         client     the gateway's only door
metrics       Prometheus; meters, gpu                media/     peers, encoders, pacer
"""
