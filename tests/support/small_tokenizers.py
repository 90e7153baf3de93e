"""Small tokenizers of the two families: byte-level (GPT-2, Llama 3, Qwen) and SentencePiece with a
dummy prefix (Llama 2, Mistral)."""

from pydoc_data.topics import topics

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRIMMED = CHATML.replace("m['content']", "(m['content'] | trim)")  # as Llama 3 does
DATED = "{{ 'Today: ' + strftime_now('%d %B %Y') + '\n' }}" + CHATML
INST = (  # Mistral
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
)
TEXT = list(topics.values())[:20]


def wrapped(tokenizer: Tokenizer, template: str | None, **special: str) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", **special)
    fast.chat_template = template
    return fast


def post_processor(begin: bool, end: bool) -> processors.TemplateProcessing:
    single = "<s> " * begin + "$A" + " </s>" * end
    return processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1), ("</s>", 2)])


def byte_level(
    template: str | None = None, begin: bool = True, end: bool = False
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = post_processor(begin, end)
    special = {"pad_token": "<pad>"} | ({"bos_token": "<s>"} if begin else {})
    fast = wrapped(tokenizer, template, **special)
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return fast


def sentencepiece(template: str | None = None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))],
        show_progress=False,
    )
    words = [word for text in TEXT for word in text.split()]
    tokenizer.train_from_iterator(words, trainer)
    tokenizer.post_processor = post_processor(True, False)
    return wrapped(tokenizer, template, bos_token="<s>", unk_token="<unk>")
