"""Sizes of a Moondream2 of the 2025-06-21 layout, and what they cost.

Needs nothing but the standard library, so that reports can count operations where PyTorch is not installed.
"""

import json
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Text:
    """The language model. `prefix_attn` positions (BOS and the image) see one another; later ones are causal."""

    dim: int = 2048
    ff_dim: int = 8192
    n_layers: int = 24
    vocab_size: int = 51200
    max_context: int = 2048
    n_heads: int = 32
    prefix_attn: int = 730

    @property
    def head_dim(self):
        return self.dim // self.n_heads


@dataclass(frozen=True)
class Vision:
    """Crops, encoder and projection. `overlap_margin` is in patches, `crop_size` and `enc_patch_size` in pixels."""

    enc_dim: int = 1152
    enc_patch_size: int = 14
    enc_n_layers: int = 27
    enc_ff_dim: int = 4304
    enc_n_heads: int = 16
    crop_size: int = 378
    in_channels: int = 3
    max_crops: int = 12
    overlap_margin: int = 4
    proj_inner_dim: int = 8192

    @property
    def grid(self):
        """Patches along one side of a crop."""
        return self.crop_size // self.enc_patch_size

    @property
    def patch_dim(self):
        return self.in_channels * self.enc_patch_size**2

    @property
    def margin(self):
        """Pixels at each inner border of a crop that its neighbour shows too."""
        return self.overlap_margin * self.enc_patch_size

    @property
    def window(self):
        """Pixels from one local crop to the next."""
        return self.crop_size - 2 * self.margin


@dataclass(frozen=True)
class Template:
    """Token ids around the image and a question; the suffix is written twice, as the model was trained."""

    bos_id: int = 0
    eos_id: int = 0
    answer_id: int = 3
    prefix: tuple = (1, 15381, 2)
    suffix: tuple = (3,)

    def prompt(self, question):
        return [*self.prefix, *question, *self.suffix, *self.suffix]


@dataclass(frozen=True)
class Config:
    text: Text = Text()
    vision: Vision = Vision()
    template: Template = Template()

    @staticmethod
    def load(path):
        """Reads a `config.json`; what it leaves out has the 2B model's value."""
        with open(path, encoding="utf-8") as file:
            raw = json.load(file)
        raw = raw.get("config", raw)
        tokens = raw.get("tokenizer", {})
        query = tokens.get("templates", {}).get("query") or {}
        template = {name: tuple(ids) for name, ids in query.items()}
        return Config(
            _take(Text, raw.get("text", {})),
            _take(Vision, raw.get("vision", {})),
            _take(Template, {**tokens, **template}),
        )

    def vision_flops(self):
        """Operations (a multiply-add is two) to encode one crop."""
        v, tokens = self.vision, self.vision.grid**2
        matrices = 4 * v.enc_dim**2 + 2 * v.enc_dim * v.enc_ff_dim
        attention = 2 * tokens * v.enc_dim
        return 2 * tokens * (v.enc_n_layers * (matrices + attention) + v.patch_dim * v.enc_dim)

    def prefix_flops(self):
        """Operations to project one image and fill the cache with its prefix."""
        v, t = self.vision, self.text
        projection = v.proj_inner_dim * (2 * v.enc_dim + t.dim)
        return 2 * v.grid**2 * projection + self._text_flops(t.prefix_attn, t.prefix_attn)

    def question_flops(self, tokens):
        """Operations for one question of so many tokens over the cached prefix, logits of its last token included."""
        t = self.text
        return self._text_flops(tokens, t.prefix_attn + tokens) + 2 * t.dim * t.vocab_size

    def packed_flops(self, tokens, longest):
        """Operations for questions of so many distinct tokens in all, the longest of `longest`, over the cached prefix."""
        return self._text_flops(tokens, self.text.prefix_attn + longest)

    def _text_flops(self, tokens, keys):
        t = self.text
        matrices = 4 * t.dim**2 + 2 * t.dim * t.ff_dim
        return 2 * tokens * t.n_layers * (matrices + 2 * keys * t.dim)


def _take(kind, raw):
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in raw.items() if name in names})
