"""`python tiny_llama.py TEXT FOLDER`, in an environment with torch and transformers: a Llama of two layers with random
weights, always the same, and a tokenizer trained on the text."""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

text, folder = Path(sys.argv[1]), sys.argv[2]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=["<s>", "</s>"])
tokenizer.train_from_iterator(text.read_text().split("\n"), trainer)
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
fast.chat_template = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
fast.save_pretrained(folder)
torch.manual_seed(0)
shape = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 64}
config = LlamaConfig(vocab_size=512, num_key_value_heads=2, max_position_embeddings=512, **shape)
LlamaForCausalLM(config).save_pretrained(folder)
