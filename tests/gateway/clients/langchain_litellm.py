"""Run by the Python of `make sdks` that has langchain-openai and litellm: what they get at a base URL, with a key."""

import json
import os
import sys

os.environ["NO_PROXY"] = "127.0.0.1"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

url, key = sys.argv[1:]


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return city


chat = ChatOpenAI(model="gemma", base_url=url, api_key=key, max_tokens=3, max_retries=0)
answer = chat.invoke([("system", "Be brief."), ("user", "Hello")])
found = {
    "langchain": answer.content,
    "langchain usage": answer.usage_metadata["output_tokens"],
    "langchain stream": "".join(each.content for each in chat.stream("Hello")),
    "langchain tools": chat.bind_tools([weather]).invoke("Hello").content,
}
vectors = OpenAIEmbeddings(model="gemma", base_url=url, api_key=key, check_embedding_ctx_length=False)
found["langchain vectors"] = len(vectors.embed_documents(["a", "b"]))

about = {"model": "openai/gemma", "api_base": url, "api_key": key, "max_tokens": 3, "num_retries": 0}
messages = [{"role": "user", "content": "Hello"}]
whole = litellm.completion(messages=messages, **about)
found["litellm"] = whole.choices[0].message.content
found["litellm usage"] = whole.usage.completion_tokens
parts = litellm.completion(messages=messages, stream=True, **about)
found["litellm stream"] = "".join(each.choices[0].delta.content or "" for each in parts)
for name, change in (("key", {"api_key": "nobody"}), ("model", {"model": "openai/nobody"})):
    try:
        litellm.completion(messages=messages, **{**about, **change})
    except Exception as error:
        found[f"litellm {name}"] = type(error).__name__
print(json.dumps(found))
