"""Makes `siglip1`: a small random SigLIP of version 1, and what transformers and SentencePiece computed with it.

    python3 siglip1.py

Needs torch, transformers, sentencepiece, protobuf, pillow, safetensors and the `zstd` command. The vocabulary is trained on the nouns that
the program embeds; `tokenizer.json` is put together of the parts that the published one has, while the ids come from SentencePiece itself.
"""

import base64
import hashlib
import io
import json
import pathlib
import subprocess

import sentencepiece
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from sentencepiece import sentencepiece_model_pb2
from transformers import SiglipConfig, SiglipModel, SiglipTokenizer

HERE = pathlib.Path(__file__).parent
OUT = HERE / "siglip1"
SIDE, POSITIONS, VOCABULARY = 96, 64, 500
SEED = 11

TEXTS = [
    "a dog",
    "Dog",
    "red car",
    "This is a photo of an apple.",
    "the Eiffel Tower",
    "Zebra-crossing, at night!",
    "measuring   tape",
    "naïve café",
    "ünïcode",
    "ＦＵＬＬ width ｌｅｔｔｅｒｓ",
    "ligature ﬁsh and ½ a №",
    "soft\u00adhyphen and zero\u200bwidth",
    "no\u00a0break\u3000space",
    "e\u0301 is é, and ﷺ is long",
    "犬",
    "한국어",
    "a",
    "x" * 300,
    "snow_leopard",
    "the painter's brush",
    "a photo of two people on a sofa",
    "  leading and trailing  ",
]


def vocabulary():
    """A Unigram vocabulary of the published one's kind: </s> is 1, <unk> 2, normalised by NFKC with exceptions."""
    nouns = subprocess.run(["zstd", "-dc", HERE / "../../data/wordnet/nouns.txt.zst"], capture_output=True, check=True)
    words = nouns.stdout.decode().replace("_", " ").lower().splitlines()
    lines = [f"a photo of {' '.join(words[i : i + 5])}" for i in range(0, len(words), 40)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=VOCABULARY,
        model_type="unigram",
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def tokenizer_json(model):
    """The vocabulary with the parts of the published `tokenizer.json`."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)

    def special(id, content):
        flags = {"single_word": False, "lstrip": True, "rstrip": True, "normalized": False, "special": True}
        return {"id": id, "content": content, **flags}

    punctuation = r"[!\"\#\$%\&'\(\)\*\+,\-\.:;=\?@\[\\\]\^_`\{\|\}\~]"
    charsmap = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special(1, "</s>"), special(2, "<unk>")],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Lowercase"},
                {"type": "Replace", "pattern": {"Regex": punctuation}, "content": ""},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Strip", "strip_left": True, "strip_right": True},
                {"type": "Precompiled", "precompiled_charsmap": charsmap},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}},
            ],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {
            "type": "Unigram",
            "unk_id": 2,
            "vocab": [[piece.piece, piece.score] for piece in proto.pieces],
            "byte_fallback": False,
        },
    }


def network():
    config = SiglipConfig(
        text_config=dict(
            hidden_size=64,
            intermediate_size=152,
            num_hidden_layers=2,
            num_attention_heads=4,
            vocab_size=VOCABULARY,
            max_position_embeddings=POSITIONS,
        ),
        vision_config=dict(
            hidden_size=64,
            intermediate_size=152,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=SIDE,
            patch_size=16,
        ),
    )
    config._attn_implementation = "eager"
    torch.manual_seed(SEED)
    model = SiglipModel(config).eval().float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in ("logit_scale", "logit_bias"):
                continue
            is_norm = weight.dim() == 1 and name.endswith("weight")
            spread = 0.3 if weight.dim() == 1 or "position" in name else 1.5 / weight[0].numel() ** 0.5
            spread = 1.0 if "token_embedding" in name or "probe" in name else spread
            weight.copy_(torch.randn_like(weight) * spread + (1.0 if is_norm else 0.0))
        model.logit_scale.fill_(2.5)
        model.logit_bias.fill_(-2.0)
    return model


def main():
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    spiece = vocabulary()
    (OUT / "tokenizer.json").write_text(json.dumps(tokenizer_json(spiece), ensure_ascii=False, separators=(",", ":")))
    (HERE / "spiece.model").write_bytes(spiece)
    tokenizer = SiglipTokenizer(str(HERE / "spiece.model"))
    (HERE / "spiece.model").unlink()
    model = network()

    goldens, images, pixels = {}, {}, []
    for path in sorted((HERE / "images").iterdir()):
        if path.name[:3] not in ("a01", "a03", "a05", "a06", "a07", "a15", "a18"):
            continue
        picture = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        resized = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(SIDE, SIDE, 3)
        id = path.name[:3]
        goldens[f"{id}.resized"] = resized
        pixels.append((resized.float() / 255 - 0.5) / 0.5)
        with Image.open(path) as picture:
            entry = {"file": path.name, "mode": picture.mode, "size": list(picture.size)}
        images[id] = entry | {"resized_sha256": hashlib.sha256(resized.numpy().tobytes()).hexdigest()}
    texts = []
    for text in TEXTS:
        canonical = tokenizer.canonicalize_text(text.replace("_", " "))
        ids = tokenizer(canonical, truncation=True, max_length=POSITIONS)["input_ids"]
        padded = ids + [1] * (POSITIONS - len(ids))
        texts.append({"text": text, "canonical": canonical, "ids": ids, "padded": padded})
    with torch.no_grad():
        seen = model.vision_model(torch.stack(pixels).permute(0, 3, 1, 2), output_hidden_states=True)
        read = model.text_model(torch.tensor([text["padded"] for text in texts]), output_hidden_states=True)
        for i, id in enumerate(images):
            rows = [hidden[i, [0, 18, 35]] for hidden in seen.hidden_states]
            goldens[f"{id}.hidden_rows"] = torch.stack(rows)
            goldens[f"{id}.last_hidden"] = seen.last_hidden_state[i]
            goldens[f"{id}.pooled"] = seen.pooler_output[i]
        unit = lambda x: x / x.norm(dim=-1, keepdim=True)
        goldens["image.embeds"] = unit(seen.pooler_output)
        goldens["text.hidden_rows"] = torch.stack([hidden[:3, [0, 1, 63]] for hidden in read.hidden_states])
        goldens["text.pooled"] = read.pooler_output
        goldens["text.embeds"] = unit(read.pooler_output)
        cosine = goldens["image.embeds"] @ goldens["text.embeds"].T
        goldens["logits"] = model.logit_scale.exp() * cosine + model.logit_bias
        goldens["scores"] = goldens["logits"].sigmoid()

    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, OUT / "model.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in goldens.items()}, OUT / "goldens.safetensors")
    config = {"architectures": ["SiglipModel"], "model_type": "siglip", "initializer_factor": 1.0}
    kept = ("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    text = {name: getattr(model.config.text_config, name) for name in (*kept, "vocab_size")}
    vision = {name: getattr(model.config.vision_config, name) for name in (*kept, "image_size")}
    config |= {"text_config": text, "vision_config": vision}
    (OUT / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    preprocessor = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "image_processor_type": "SiglipImageProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": SIDE, "width": SIDE},
    }
    (OUT / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=1) + "\n")
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    versions |= {"sentencepiece": sentencepiece.__version__, "seed": SEED}
    manifest = versions | {"texts": texts, "images": images}
    (OUT / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False) + "\n")


main()
