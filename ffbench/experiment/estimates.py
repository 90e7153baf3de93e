"""What a run will need, from its settings and the model's sizes: disk for plans, FLOPs by stage."""

import time
from collections.abc import Callable, Iterable

import torch

from ffbench.evaluation.speed import WARM_UP_TOKENS
from ffbench.experiment import identity
from ffbench.experiment.stages import RunStages
from ffbench.methods.compensators import Compensator
from ffbench.methods.statistics import STATISTIC_AXES
from ffbench.methods.tensors import NEURON
from ffbench.models.device import resolve_device
from ffbench.models.loading import DTYPES
from ffbench.models.sizes import ModelSizes
from ffbench.runs.cache import StageCache
from ffbench.settings import RunSettings
from ffbench.training.plan_stages import (
    MAP_WINDOWS,
    MIXING_WINDOWS,
    SENSITIVITY_WINDOWS,
    TUNING_WINDOWS,
)
from ffbench.training.tails import window_length
from ffbench.training.token_mixing import MIXING_TOKENS

TEXTS = 2  # prose and code
ARMS = 3  # a speed round times dense, our own dense and sparse
CHARACTERS_PER_TOKEN = 4
FLOAT_BYTES, HALF_BYTES, INDEX_BYTES = 4, 2, 8  # the predictor's map [f, d] is float16
# A step of tuning looks at 4 windows, forward and backward.
TUNING_STEP_WINDOWS = 4
# Share of that rate that whole stages reach: chosen, not measured. The stages of the committed
# default run went at 107 to 226 GFLOP/s by this count, so one share serves them all.
EFFICIENCY = 0.5
RATE_SIZE = 768  # of the square matrices that are multiplied to find the machine's rate


def plan_bytes(settings: RunSettings, sizes: ModelSizes) -> int:
    """Size of a plan's tensors on disk: order, compensator, predictor and statistics of each
    FFN. Selectors that make tensors of their own come on top.
    """
    compensator = identity.plan_settings(settings).compensator
    return sum(
        kind.number * ffn_bytes(compensator, sizes.hidden, kind.neurons) for kind in sizes.ffns
    )


def ffn_bytes(compensator: Compensator, d: int, f: int) -> int:
    """Size of the tensors of one FFN of `plan_bytes`."""
    state = compensator.random_state(d, f, lambda *shape: torch.empty(*shape, device="meta"))
    floats = sum(tensor.numel() for tensor in state.tensors().values())
    floats += d + f  # the predictor's mean and prior
    floats += sum(f for axes in STATISTIC_AXES.values() if axes == (NEURON,))
    return FLOAT_BYTES * floats + HALF_BYTES * f * d + INDEX_BYTES * f


def stage_flops(settings: RunSettings, sizes: ModelSizes) -> dict[str, float]:
    """FLOPs by stage of a run (our count; fits and samples as the code makes them, what is small
    compared with them left out). Stages that the run does not need are counted too.
    """
    s, d = settings, sizes.hidden
    tokens, window, length = s.calibration.tokens, s.calibration.window, window_length()
    losses = len(s.objective.weights())

    def training(windows: int) -> float:
        return sizes.forward_flops(windows * length, length, windows * length // 4)

    fit = sizes.forward_flops(tokens, window)
    for kind in sizes.ffns:
        # moments in float64 at half the rate, energies, then factors and singular vectors
        f = kind.neurons
        fit += kind.passed * tokens * (2 * (2 * d * d + 2 * d * f) + 2 * d * f)
        fit += kind.number * (10.0 * d**3 + 4.0 * d * d * f)
    mapped = sizes.forward_flops(MAP_WINDOWS * window, window)
    steps = identity.plan_settings(s).compensator.refinements().tune_steps
    return {
        "fit": fit,
        "refit": fit,
        "neuron_order": sizes.forward_flops(tokens, window),
        "token_mixing": 2 * sizes.forward_flops(MIXING_WINDOWS * MIXING_TOKENS, MIXING_TOKENS),
        "sensitivity": training(SENSITIVITY_WINDOWS) * sizes.layers / 2,
        "curvature": training(s.objective.windows) * (1 + 2 * losses),
        "output_map": 2 * mapped,
        "teacher": training(TUNING_WINDOWS),
        "tune": 4 * steps * training(TUNING_STEP_WINDOWS),
    } | measuring_flops(s, sizes)


def measuring_flops(settings: RunSettings, sizes: ModelSizes) -> dict[str, float]:
    """FLOPs of the stages that measure. Sparse passes count as dense ones."""
    s, fidelity = settings, settings.fidelity
    judged = 0.0
    for context in fidelity.contexts:
        texts = fidelity.windows * (TEXTS + ("question" in fidelity.tails))
        tail = fidelity.tail * len(fidelity.tails)
        judged += sizes.forward_flops(texts * (context + tail), context, texts * tail)
    answered = 0.0
    for spec, records in identity.work_of(s):
        for record in records:
            characters = len(record.context) + len(record.question)
            prompt = min(characters // CHARACTERS_PER_TOKEN, s.task.max_length)
            new = spec.max_new_tokens if s.task.decode else 0
            answered += sizes.forward_flops(prompt + new, prompt, 1 + new)
    passes = s.speed.processes * ARMS if s.speed.rounds else 0
    timed = [s.speed.rounds * sizes.forward_flops(n, n, 1) for n in s.speed.lengths]
    warm = [min(n, WARM_UP_TOKENS) for n in s.speed.lengths]
    return {
        "answers": answered,
        "evaluate": answered,
        "dense_tails": judged,
        "fidelity": judged,
        "speed": passes * (sum(timed) + sum(sizes.forward_flops(n, n, 1) for n in warm)),
    }


def missing_flops(jobs: Iterable[RunSettings], sizes: ModelSizes) -> dict[str, float]:
    """FLOPs by stage of what `jobs` still have to do: shared stages once, and not if they are
    kept already.
    """
    total: dict[str, float] = {}
    seen: set[str] = set()
    for settings in jobs:
        flops = stage_flops(settings, sizes)
        cache = StageCache(settings.output_dir)
        names = [] if settings.dense else ["evaluate", "fidelity", "speed"]
        for stage in RunStages(settings).run.all():
            if stage.stored and stage.key not in seen and not cache.has(stage.name, stage.key):
                seen.add(stage.key)
                names.append(stage.name)
        for name in names:
            if flops.get(name):
                total[name] = total.get(name, 0.0) + flops[name]
    return total


def machine_rate(settings: RunSettings, clock: Callable[[], float] = time.perf_counter) -> float:
    """FLOP/s of square matrix products in the run's dtype on its device: the best of three."""
    device = resolve_device(settings.model.device)
    dtype = DTYPES[identity.dtype_of(identity.model_spec(settings))]
    matrix = torch.ones(RATE_SIZE, RATE_SIZE, dtype=dtype, device=device)
    seconds = []
    for _ in range(4):
        start = clock()
        float((matrix @ matrix)[0, 0])  # reading a value waits for a card
        seconds.append(clock() - start)
    return 2.0 * RATE_SIZE**3 / max(min(seconds[1:]), 1e-9)
