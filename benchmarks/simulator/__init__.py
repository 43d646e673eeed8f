"""The allocator's own policy under a virtual clock: thousands of workers, a day in minutes.

`scenarios` says what happens, `workload` draws who comes, `world` is workers and clients around a
`cluster.policy.Pool`; `measures` keeps what is seen, `figures`, `report` and `plots` show it.
`docs/simulator.md` says what is modelled.
"""
