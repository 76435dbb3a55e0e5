# make demo   set everything up and turn a shipped picture into a 3D object
# make test   set everything up and run all tests
# make lint   ruff and pyright
# make scores render held-out cars and score the shipped weights on them
# make report score them in every way, into docs/evaluation; TEST=... GALLERY=... takes packed files,
#             BESIDE=... other models, BLIND=... one trained with shuffled inputs
# make spark           bundle the renderer of page and viewer, Spark and three.js from npm, into spark.min.js
# make judge-formats   let splat-transform and Babylon.js, from npm, read our Gaussian files, and read theirs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# PyTorch is pinned and installed first, so that the CPU build is taken where it is on offer.
TORCH := torch==2.13.0

TEST ?= outputs/cars_test.pack
GALLERY ?= outputs/cars_gallery.pack

.PHONY: demo test lint scores report judge-formats spark clean

demo: $(VENV)/.base
	$(BIN)/sparsegen generate examples/car.png --detail -o outputs/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

judge-formats: $(VENV)/.dev
	npm install --prefix . --no-save --no-audit --no-fund --ignore-scripts @playcanvas/splat-transform@3.7.0 \
		@babylonjs/core@9.28.0 @babylonjs/loaders@9.28.0
	$(BIN)/python -m pytest tests/formats/test_formats_judged.py

spark:
	npm install --prefix . --no-save --no-audit --no-fund --ignore-scripts \
		@sparkjsdev/spark@2.2.0 three@0.187.0 fflate@0.8.3 esbuild@0.28.2
	node_modules/.bin/esbuild src/sparsegen/viewer/spark.mjs --bundle --minify --target=es2022 --format=iife \
		--global-name=Spark --legal-comments=inline --outfile=src/sparsegen/viewer/spark.min.js

scores: outputs/cars_test.pack outputs/cars_gallery.pack
	$(BIN)/sparsegen eval --data outputs/cars_test.pack --gallery outputs/cars_gallery.pack -o outputs/scores

report: $(TEST) $(GALLERY)
	$(BIN)/sparsegen data depth $(TEST) outputs/cars_test.depth
	$(BIN)/sparsegen eval --data $(TEST) --gallery $(GALLERY) --depth outputs/cars_test.depth \
		$(if $(BESIDE),--beside $(BESIDE)) $(if $(BLIND),--blind $(BLIND)) \
		--queries 16 32 48 64 96 128 --noise-study -o outputs/report
	rm -rf docs/evaluation
	mkdir -p docs/evaluation
	cp -r outputs/report/report.md outputs/report/report_figures outputs/report/metrics.json docs/evaluation

outputs/cars_test.pack: | $(VENV)/.dev
	$(BIN)/sparsegen data cars $@ -n 50 --split test --pack

outputs/cars_gallery.pack: | $(VENV)/.dev
	$(BIN)/sparsegen data cars $@ -n 200 --split train --spiral --pack

clean:
	rm -rf $(VENV) outputs

$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/pip install --quiet -c constraints.txt -e '.[data,matting,heic,mesh,serve,export,dev]'
	touch $@
