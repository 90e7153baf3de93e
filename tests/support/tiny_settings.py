"""Settings of a run on a tiny model within a second or two; later settings win over earlier ones."""

# block-wise work on windows that a byte tokenizer fills, with dense ends as short as a block
SMALL = [
    "tracker=none",
    "block_size=32",
    "first_dense=32",
    "last_dense=32",
    "calibration.tokens=1024",
    "calibration.window=512",
    "fidelity.windows=1",
    "fidelity.contexts=[256]",
    "fidelity.tail=63",
    "fidelity.tails=[continuation,copy]",
    "speed.rounds=0",
    "speed.processes=1",
    "speed.lengths=[256]",
    "speed.wide_shape=null",
    "kernel=torch",
]
TINY = ["model=tiny_llama", "compensator.rank=8", *SMALL]
# what a plan for a mixture of experts can have
EXPERTS = ["compensator=bias", "scheduler=uniform"]
