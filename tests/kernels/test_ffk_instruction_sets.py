"""Choice of the native instruction set: forced by FFKERNELS_ISA, refused, trusted."""

import ffk_cases
import pytest
import torch

import ffkernels
from ffkernels import native
from ffkernels.native import instruction_sets, library
from ffkernels.problem import Problem

pytestmark = pytest.mark.skipif(
    native.unavailable() is not None, reason=f"no native backend: {native.unavailable()}"
)
F32, BF16 = torch.float32, torch.bfloat16


def problem_of(args: dict) -> Problem:
    return Problem(**args | {"indices": args["indices"].int()})


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(instruction_sets.VARIABLE, "sse2")
    with pytest.raises(
        ValueError, match="FFKERNELS_ISA: expected one of avx512, avx2, .*; received 'sse2'"
    ):
        ffkernels.sparse_gated_ffn(**ffk_cases.make(37, 24, 50, 8, 13), backend="native")


def test_a_missing_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruction_sets, "available", lambda: ["avx2"])
    monkeypatch.setenv(instruction_sets.VARIABLE, "amx_bf16")
    with pytest.raises(
        ValueError, match=r"an instruction set of this machine \(avx2\); received 'amx_bf16'"
    ):
        native.instruction_set(BF16)


def test_pair_sets_serve_bfloat16_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruction_sets, "available", lambda: ["avx512", "avx2", "avx512_bf16"])
    monkeypatch.setenv(instruction_sets.VARIABLE, "avx512_bf16")
    assert [native.instruction_set(dtype) for dtype in (F32, BF16, torch.float16)] == [
        "avx512",
        "avx512_bf16",
        "avx512",
    ]
    monkeypatch.setenv(instruction_sets.VARIABLE, "avx2")
    assert native.instruction_set(BF16) == "avx2"
    monkeypatch.setenv(instruction_sets.VARIABLE, "")
    assert native.instruction_set(BF16) == "avx512"


def test_amx_is_chosen_where_it_is_right_and_left_with_a_warning_where_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(instruction_sets.VARIABLE, raising=False)
    monkeypatch.setattr(instruction_sets, "available", lambda: ["avx2", "amx_bf16"])
    right = library.call
    wrong = [False]

    def stand_in(lib, name, problem):
        """The float code in place of AMX, which few machines have."""
        return right(lib, "avx2", problem) * (1.1 if wrong[0] and name == "amx_bf16" else 1)

    monkeypatch.setattr(library, "call", stand_in)
    instruction_sets.agrees.cache_clear()
    assert native.instruction_set(BF16) == "amx_bf16" and native.instruction_set(F32) == "avx2"
    wrong[0] = True
    instruction_sets.agrees.cache_clear()
    with pytest.warns(UserWarning, match="amx_bf16 gives wrong results"):
        assert native.instruction_set(BF16) == "avx2"
    instruction_sets.agrees.cache_clear()


@pytest.mark.skipif(
    "amx_emulated" not in instruction_sets.available(), reason="the emulated tiles need AVX-512"
)
def test_the_emulated_tiles_pass_the_check_that_real_ones_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instruction_sets.agrees.cache_clear()
    assert instruction_sets.agrees("amx_emulated")
    instruction_sets.agrees.cache_clear()


def test_the_library_refuses_a_dtype_that_an_instruction_set_has_not() -> None:
    lib = library.loaded()[0]
    name = next(
        (one for one in instruction_sets.available() if one in instruction_sets.PAIR_SETS), None
    )
    if name is None:
        pytest.skip("no pair instruction set here")
    problem = problem_of(ffk_cases.make(37, 24, 50, 8, 13))
    with pytest.raises(RuntimeError, match="cannot run this call"):
        library.call(lib, name, problem)


@pytest.mark.skipif("amx_bf16" not in instruction_sets.available(), reason="no AMX here")
def test_the_tiles_of_this_processor_agree_with_the_emulated_ones() -> None:
    """The same products of bfloat16; the processor may sum the two of a pair in another order."""
    lib = library.loaded()[0]
    args = ffk_cases.make(300, 96, 400, 128, 200, hot=60, rank=40, bias=True, dtype=BF16)
    problem = problem_of(args)
    real, emulated = (library.call(lib, name, problem) for name in ("amx_bf16", "amx_emulated"))
    ffk_cases.assert_close(real, args)
    assert (real.float() - emulated.float()).abs().max() <= 2**-7 * emulated.float().abs().max()


def test_an_unknown_activation_is_an_error_in_the_library() -> None:
    lib = library.loaded()[0]
    args = ffk_cases.make(37, 24, 50, 8, 13)
    for name in (*instruction_sets.FLOAT_SETS, *instruction_sets.PAIR_SETS):
        if name not in instruction_sets.available():
            continue
        dtype = F32 if name in instruction_sets.FLOAT_SETS else BF16
        tensors = {
            n: t.to(dtype) if n != "indices" else t.int()
            for n, t in args.items()
            if isinstance(t, torch.Tensor)
        }
        problem = Problem(**args | tensors | {"activation": "swish"})
        with pytest.raises(ValueError, match="activation: expected one of silu.*received 'swish'"):
            library.call(lib, name, problem)
