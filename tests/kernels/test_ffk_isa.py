"""Choice of the native instruction set: forced by FFKERNELS_ISA, refused, trusted."""

import ffk_cases
import pytest
import torch

import ffkernels
from ffkernels import native

pytestmark = pytest.mark.skipif(
    native.unavailable() is not None, reason=f"no native backend: {native.unavailable()}"
)
F32, BF16 = torch.float32, torch.bfloat16


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.VARIABLE, "sse2")
    with pytest.raises(
        ValueError, match="FFKERNELS_ISA: expected one of avx512, avx2, .*; received 'sse2'"
    ):
        ffkernels.sparse_gated_ffn(**ffk_cases.make(37, 24, 50, 8, 13), backend="native")


def test_a_missing_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "isas", lambda: ["avx2"])
    monkeypatch.setenv(native.VARIABLE, "amx_bf16")
    with pytest.raises(
        ValueError, match=r"an instruction set of this machine \(avx2\); received 'amx_bf16'"
    ):
        native.isa_for(BF16)


def test_pair_sets_serve_bfloat16_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "isas", lambda: ["avx512", "avx2", "avx512_bf16"])
    monkeypatch.setenv(native.VARIABLE, "avx512_bf16")
    assert [native.isa_for(dtype) for dtype in (F32, BF16, torch.float16)] == [
        "avx512",
        "avx512_bf16",
        "avx512",
    ]
    monkeypatch.setenv(native.VARIABLE, "avx2")
    assert native.isa_for(BF16) == "avx2"
    monkeypatch.setenv(native.VARIABLE, "")
    assert native.isa_for(BF16) == "avx512"


def test_amx_is_chosen_where_it_is_right_and_left_with_a_warning_where_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(native.VARIABLE, raising=False)
    monkeypatch.setattr(native, "isas", lambda: ["avx2", "amx_bf16"])
    right = native.call
    wrong = [False]

    def stand_in(lib, isa, problem):
        """The float code in place of AMX, which few machines have."""
        return right(lib, "avx2", problem) * (1.1 if wrong[0] and isa == "amx_bf16" else 1)

    monkeypatch.setattr(native, "call", stand_in)
    native._trusted.cache_clear()
    assert native.isa_for(BF16) == "amx_bf16" and native.isa_for(F32) == "avx2"
    wrong[0] = True
    native._trusted.cache_clear()
    with pytest.warns(UserWarning, match="amx_bf16 gives wrong results"):
        assert native.isa_for(BF16) == "avx2"
    native._trusted.cache_clear()


@pytest.mark.skipif("amx_emulated" not in native.isas(), reason="the emulated tiles need AVX-512")
def test_the_emulated_tiles_pass_the_check_that_real_ones_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    native._trusted.cache_clear()
    assert native._trusted("amx_emulated")
    native._trusted.cache_clear()


def test_the_library_refuses_a_dtype_that_an_instruction_set_has_not() -> None:
    lib = native._loaded()[0]
    name = next((one for one in native.isas() if one in native.PAIR_ISAS), None)
    if name is None:
        pytest.skip("no pair instruction set here")
    args = ffk_cases.make(37, 24, 50, 8, 13)
    problem = native.Problem(
        args["x"], args["w_gate"], args["w_up"], args["w_down_t"], args["indices"], 8, 0, "silu"
    )
    with pytest.raises(RuntimeError, match="cannot run this call"):
        native.call(lib, name, problem)
