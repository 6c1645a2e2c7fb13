"""Moondream2, 2025-06-21 layout, in PyTorch: one picture encoded into a key/value cache, questions answered over it.

Parameters are named and shaped as in the published checkpoint, less its leading `model.`; the region part is left out.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def split(self, x):
        """Queries, keys and values, each `[batch, heads, tokens, head_dim]`."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        return qkv.permute(2, 0, 3, 1, 4)

    def join(self, x):
        return self.proj(x.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, dim, hidden, out):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionBlock(nn.Module):
    def __init__(self, vision):
        super().__init__()
        self.ln1 = nn.LayerNorm(vision.enc_dim)
        self.attn = Attention(vision.enc_dim, vision.enc_n_heads)
        self.ln2 = nn.LayerNorm(vision.enc_dim)
        self.mlp = Mlp(vision.enc_dim, vision.enc_ff_dim, vision.enc_dim)

    def forward(self, x):
        q, k, v = self.attn.split(self.ln1(x))
        x = x + self.attn.join(F.scaled_dot_product_attention(q, k, v))
        return x + self.mlp(self.ln2(x))


class Vision(nn.Module):
    """Crops to the image tokens of the language model."""

    def __init__(self, config):
        super().__init__()
        vision = self.config = config.vision
        self.patch_emb = nn.Linear(vision.patch_dim, vision.enc_dim)
        self.pos_emb = nn.Parameter(torch.empty(1, vision.grid**2, vision.enc_dim))
        self.blocks = nn.ModuleList(VisionBlock(vision) for _ in range(vision.enc_n_layers))
        self.post_ln = nn.LayerNorm(vision.enc_dim)
        self.proj_mlp = Mlp(2 * vision.enc_dim, vision.proj_inner_dim, config.text.dim)

    def patches(self, crops):
        """Bytes `[crops, side, side, 3]` to vectors `[crops, grid * grid, 3 * patch * patch]` from -1 to 1."""
        count, grid, patch = len(crops), self.config.grid, self.config.enc_patch_size
        x = (crops.float() / 255 - 0.5) / 0.5
        x = x.view(count, grid, patch, grid, patch, 3)
        return x.permute(0, 1, 3, 5, 2, 4).reshape(count, grid * grid, -1)

    def encode(self, crops):
        """Features `[crops, grid * grid, enc_dim]`, all crops in one batch."""
        x = self.patch_emb(self.patches(crops).to(self.pos_emb.dtype)) + self.pos_emb
        for block in self.blocks:
            x = block(x)
        return self.post_ln(x)

    def stitch(self, local, tiles):
        """Features of the tiles, less the margins at inner borders, as one map `[enc_dim, height, width]`."""
        (rows, cols), grid, margin = tiles, self.config.grid, self.config.overlap_margin
        local = local.view(rows, cols, grid, grid, -1)
        bands = []
        for row in range(rows):
            top, bottom = margin * (row > 0), grid - margin * (row < rows - 1)
            band = []
            for col in range(cols):
                left, right = margin * (col > 0), grid - margin * (col < cols - 1)
                band.append(local[row, col, top:bottom, left:right])
            bands.append(torch.cat(band, dim=1))
        return torch.cat(bands, dim=0).permute(2, 0, 1)

    def forward(self, crops, tiles):
        """Embeddings `[1, grid * grid, text dim]` of one picture from all its crops, the overview first."""
        features = self.encode(crops)
        pooled = F.adaptive_avg_pool2d(self.stitch(features[1:], tiles), self.config.grid)
        both = torch.cat([features[0], pooled.flatten(1).T], dim=-1)
        return self.proj_mlp(both).unsqueeze(0)


class TextBlock(nn.Module):
    def __init__(self, text):
        super().__init__()
        self.ln = nn.LayerNorm(text.dim)
        self.attn = Attention(text.dim, text.n_heads)
        self.mlp = Mlp(text.dim, text.ff_dim, text.dim)

    def forward(self, x, start, cache, rotary, mask):
        """`cache` is `[2, 1, heads, context, head_dim]`; the keys and values of `x` are written from `start` on."""
        y = self.ln(x)
        q, k, v = self.attn.split(y)
        end = start + x.shape[1]
        cache[0, :, :, start:end] = rotate(k, rotary)
        cache[1, :, :, start:end] = v
        seen = cache[:, :, :, :end]
        attended = F.scaled_dot_product_attention(rotate(q, rotary), seen[0], seen[1], attn_mask=mask)
        return x + self.attn.join(attended) + self.mlp(y)


def rotate(x, rotary):
    """Rotary embedding of the first half of each head: of its dimensions, j turns with j + half."""
    cos, sin = rotary
    turned, rest = x.chunk(2, dim=-1)
    a, b = turned.float().chunk(2, dim=-1)
    turned = torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
    return torch.cat([turned.to(x.dtype), rest], dim=-1)


class Text(nn.Module):
    def __init__(self, config):
        super().__init__()
        text = self.config = config.text
        self.wte = nn.Parameter(torch.empty(text.vocab_size, text.dim))
        self.blocks = nn.ModuleList(TextBlock(text) for _ in range(text.n_layers))
        self.post_ln = nn.LayerNorm(text.dim)
        self.lm_head = nn.Linear(text.dim, text.vocab_size)

    def forward(self, x, start, session):
        """The residual stream `[1, tokens, dim]` of tokens that follow `start` others in the cache."""
        tokens = x.shape[1]
        end = start + tokens
        rotary = session.cos[start:end], session.sin[start:end]
        # The image prefix and single tokens see all there is; a question sees the prefix and is causal in itself.
        mask = None if start == 0 or tokens == 1 else session.mask[start:end, :end]
        for block, cache in zip(self.blocks, session.cache):
            x = block(x, start, cache, rotary, mask)
        return x

    def logits(self, x):
        """`[vocab]`, of the last position."""
        return self.lm_head(self.post_ln(x[0, -1]))


class Session:
    """The cache of one picture, made once for all pictures, and the tables of all positions.

    Questions write behind the prefix, each over the one before: no copy of the prefix is made for a question.
    """

    def __init__(self, text, dtype, device):
        shape = (text.n_layers, 2, 1, text.n_heads, text.max_context, text.head_dim)
        self.cache = torch.zeros(shape, dtype=dtype, device=device)
        rotated = text.head_dim // 2
        exponents = torch.arange(0, rotated, 2, dtype=torch.float32) / rotated
        angles = torch.outer(torch.arange(text.max_context), 10000.0**-exponents)
        self.cos, self.sin = angles.cos().to(device), angles.sin().to(device)
        context = text.max_context
        self.mask = torch.ones(context, context, dtype=torch.bool, device=device).tril()


class Moondream(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.vision = Vision(config)
        self.text = Text(config)

    @property
    def device(self):
        return self.text.wte.device

    def session(self):
        return Session(self.config.text, self.text.wte.dtype, self.device)

    def embed(self, ids):
        return F.embedding(torch.tensor([ids], device=self.device), self.text.wte)

    def prefill(self, image, session):
        """Fills the cache with BOS and the image tokens."""
        bos = self.embed([self.config.template.bos_id])
        self.text(torch.cat([bos, image], dim=1), 0, session)

    def ask(self, prompt, session):
        """Logits `[vocab]` of the answer's first token."""
        return self.text.logits(self.text(self.embed(prompt), self.config.text.prefix_attn, session))

    def generate(self, prompt, session, choices):
        """The likeliest answer, as ids: until the end token or for so many choices (the end token is one)."""
        template = self.config.template
        position = self.config.text.prefix_attn + len(prompt)
        logits = self.ask(prompt, session)
        ids = []
        while True:
            token = logits.argmax().item()
            if token == template.eos_id:
                return ids
            ids.append(token)
            choices -= 1
            if choices == 0:
                return ids
            hidden = self.text(self.embed([token]), position, session)
            logits = self.text.logits(hidden)
            logits[template.answer_id] = -torch.inf  # barred from the second token on
            position += 1


def random_model(config, dtype, device, seed=0):
    """A model of random weights, made in place in `dtype`: nothing is held twice or in a wider format."""
    with torch.device("meta"):
        model = Moondream(config)
    model = model.to(dtype).to_empty(device=device)
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
                continue
            for parameter in module.parameters(recurse=False):
                parameter.normal_(0.0, 0.02)
    return model.eval().requires_grad_(False)


def load_model(config, path, dtype, device):
    """A model with the weights of a safetensors file; all of ours must be in it."""
    from safetensors import safe_open

    with torch.device("meta"):
        model = Moondream(config)
    with safe_open(path, framework="pt", device=str(device)) as file:
        # One tensor at a time, so that a change of format does not hold the whole file twice.
        weights = {name: file.get_tensor(f"model.{name}").to(dtype) for name in model.state_dict()}
    model.load_state_dict(weights, strict=True, assign=True)
    return model.eval().requires_grad_(False)
