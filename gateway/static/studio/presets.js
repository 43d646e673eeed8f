// Storyboards to begin with. `at` is the chunk of the run, each 29 frames at 24 fps: about 1.2 seconds.

const shot = (at, prompt) => ({ kind: "shot", at, prompt });
const cut = (at, prompt) => ({ kind: "scene_cut", at, prompt });

export const PRESETS = [
  {
    name: "Dune crossing",
    seed: 42,
    opening: "A lone traveller in a pale coat walks along the crest of a red dune at dawn, wide shot, slow dolly forward, wind lifting the sand.",
    beats: [
      shot(8, "The same traveller from close behind, low sun ahead, footprints filling with sand, handheld camera."),
      shot(16, "The wind rises, a wall of dust on the horizon, the traveller pulls a scarf over the face, camera circles slowly."),
      cut(26, "A walled desert town at night, lanterns in narrow lanes, the traveller pushes open a wooden gate, warm light."),
      shot(36, "Inside the courtyard: a fountain, fig trees, an old woman pours tea, the camera settles at table height."),
    ],
  },
  {
    name: "Harbour night",
    seed: 7,
    opening: "A fishing harbour in heavy rain at night, neon reflected in puddles, trawlers rocking at the quay, static wide shot.",
    beats: [
      cut(6, "Inside a small noodle bar at the quay, steam, a cook seen through a fogged window, slow push in."),
      cut(12, "On the deck of a trawler, ropes and green lamps, a sailor shouts into the wind, handheld."),
      shot(18, "The trawler leaves the harbour, the lights of the town shrink behind it, camera on the stern."),
      cut(26, "Open sea at first light, flat water, gulls around the mast, high drone shot drifting left."),
    ],
  },
  {
    name: "Four seasons",
    seed: 1204,
    opening: "A stone cottage under an old oak in spring, fresh green, blossom drifting, static camera from the meadow.",
    beats: [
      shot(10, "The same cottage and oak in high summer, tall grass, heat shimmer, swallows, static camera from the meadow."),
      shot(20, "The same cottage and oak in autumn, copper leaves falling, smoke from the chimney, static camera from the meadow."),
      shot(30, "The same cottage and oak in deep winter, snow on the roof, blue dusk, one lit window, static camera from the meadow."),
    ],
  },
  {
    name: "Pursuit",
    seed: 88,
    opening: "A courier on a bicycle bursts out of an alley into morning traffic, tracking shot from the side.",
    beats: [
      cut(4, "The courier from the front, weaving between buses, long lens, shallow focus."),
      cut(8, "A rider on a black motorcycle turns a corner and accelerates, low angle."),
      cut(12, "Down a long public stairway, bicycle bouncing, camera close to the front wheel."),
      shot(16, "The stairs end at a market, stalls and awnings flash past, camera follows at speed."),
      cut(22, "A quiet canal, the courier hides under a bridge, breath in cold air, slow push in."),
    ],
  },
  {
    name: "One long take",
    seed: 42,
    opening: "A paper boat floats down a brook through a mossy forest, macro shot, the camera glides just above the water.",
    beats: [],
  },
];
