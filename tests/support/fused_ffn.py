"""A gated FFN as vLLM has it, with one projection for gate and up; from transformers."""

from types import SimpleNamespace

import torch
from transformers.models.phi3.modeling_phi3 import Phi3MLP

from ffbench.models.gated_ffn import GatedFFN


def fused_ffn(ffn: GatedFFN, neurons: slice = slice(None)) -> Phi3MLP:
    """A module of its own with some neurons of an FFN whose activation is silu."""
    down = ffn.w_down[:, neurons].detach().clone()
    sizes = {"hidden_size": down.shape[0], "intermediate_size": down.shape[1]}
    mlp = Phi3MLP(SimpleNamespace(**sizes, hidden_act="silu"))
    gate_up = torch.cat([ffn.w_gate[neurons], ffn.w_up[neurons]]).detach()
    mlp.gate_up_proj.weight.data, mlp.down_proj.weight.data = gate_up, down
    return mlp
