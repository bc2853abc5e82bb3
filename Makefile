# Everything from a fresh clone: `make demo` and `make test` set themselves up.
# `make help` lists the targets; it reads the `##` comments below.
#
# The environment is made by $(PYTHON) in .venv, once; a change of setup.py,
# pyproject.toml or constraints.txt installs again. To choose a Python:
#   make demo PYTHON=python3.12

PYTHON ?= python3
PYTHON_VERSIONS := 3.11 3.12 3.13 3.14

# `make demo PIP_FLAGS=` shows what pip does.
PIP_FLAGS ?= --quiet

PY := .venv/bin/python
DEMO_EXTRAS := baselines
TEST_EXTRAS := baselines,hf,tensorboard,webdataset,parity,dev
INSTALL := $(PY) -m pip install $(PIP_FLAGS) --disable-pip-version-check -c constraints.txt

# Some machines forbid it; then each of the hundred processes that the tests start
# compiles the package again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test check explanation-checks cam-layers smoke results results-quick tables roar roar-esc10 ablations \
    two-sources any-classifier zero-shot zero-shot-ablations models models-check report example \
    experiments \
    bench bench-training dist faults test-extras test-portable screenshots clean lint types doctest \
    chromium esc10-folder speech-folder stale

help:  ## list the targets (what `make` alone does)
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "make %-20s %s\n", $$1, $$2}' Makefile

# --- What users run -----------------------------------------------------------

demo: .venv/.installed-demo  ## train, judge and hear explanations of generated sounds
	$(PY) data_prep/toy_prepare.py data/toy
	$(PY) recipes/train_classifier.py hparams/toy_classifier.yaml
	$(PY) recipes/train_lmac.py hparams/toy_lmac.yaml
	$(PY) recipes/evaluate.py hparams/toy_table.yaml $(ONE_METHOD) --output_folder results/toy_evaluate/1234
	set -- data/toy/audio/5-*.wav; $(PY) recipes/explain.py hparams/toy_lmac.yaml \
	    "$$1" "$$2" "$$3" --output_folder results/demo
	@for table in results/toy_evaluate/*/summary.md; do \
	    printf '\n%s\n\n' "$$table"; cat "$$table"; done
	$(PY) recipes/report.py results/toy_evaluate/1234
	@printf '\nListen to and look at:\n'
	@find results/demo -name '*.wav' -o -name '*.png' | sort | sed 's/^/  /'

# The trainings that the tables of ESC-10 need; finished ones are only tested again.
define train_esc10
$(PY) recipes/train_classifier.py hparams/esc10_classifier_compact.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac.py hparams/esc10_lmac.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac.py hparams/esc10_lmac_mel.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac.py hparams/esc10_lmac_finetune.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac.py hparams/ablations/esc10_finetune_16.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac.py hparams/ablations/esc10_finetune_0.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac.py hparams/esc10_lmac_continued.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac.py hparams/esc10_lmac_mel_finetune.yaml $(ESC10_DATA)
$(PY) recipes/train_nmf.py hparams/esc10_nmf.yaml $(ESC10_DATA)
$(PY) recipes/train_l2i.py hparams/esc10_l2i.yaml $(ESC10_DATA)
endef
# The judges of EVAL-X and of the encode-meter, of the methods that have one.
define train_judges
$(PY) recipes/train_judge.py hparams/esc10_judge.yaml $(ESC10_DATA)
$(PY) recipes/train_judge.py hparams/esc10_encoding_judge.yaml $(ESC10_DATA)
$(PY) recipes/train_judge.py hparams/esc10_encoding_judge.yaml $(ESC10_DATA) --explainer "L-MAC finetuned" --output_folder results/esc10_encoding_finetuned/1234
$(PY) recipes/train_judge.py hparams/esc10_encoding_judge.yaml $(ESC10_DATA) --explainer "LayerCAM, block 2" --output_folder results/esc10_encoding_layercam/1234
$(PY) recipes/train_judge.py hparams/esc10_encoding_judge.yaml $(ESC10_DATA) --explainer energy --output_folder results/esc10_encoding_energy/1234
endef
define train_esc10_td
$(PY) recipes/train_codec.py hparams/esc10_codec.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac_td.py hparams/ablations/esc10_td_alpha1.00.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac_td.py hparams/esc10_lmac_td.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac_td.py hparams/ablations/esc10_td_alpha0.00.yaml $(ESC10_DATA)
$(PY) recipes/train_lmac_td.py hparams/ablations/esc10_td_l1_published.yaml $(ESC10_DATA)
endef
ESC10_DATA = --data_folder "$(ESC10_FOLDER)"
SPEECH_DATA = --speech_folder "$(SPEECH_FOLDER)"

# Runs of a table: what is chosen of its conditions, blocks and methods.
ESC10_TABLE = $(PY) recipes/evaluate.py hparams/esc10_table.yaml $(ESC10_DATA)
ONE_METHOD := --conditions clean --blocks STFT --methods '[L-MAC, random*, all ones]' \
    --curves=null --sanity=null
IN_DOMAIN := --conditions clean,noise --blocks STFT,Mel
OUT_OF_DOMAIN := --conditions mixtures,white_noise,speech --blocks STFT,Mel
# SPS, COMP and MM of what is heard: masks of different domains cannot be compared.
LMAC_TD := --conditions noise,mixtures,white_noise --blocks STFT,TD \
    --methods '[L-MAC, LMAC-TD*, random blocks, all ones]' --curves=null --sanity=null \
    --together '[STFT, TD]' --reference 'LMAC-TD, alpha=0.75' \
    --metrics '[AI, AD, AG, FF, Fid-In, SPS-heard, COMP-heard, MM-heard]'

results: esc10-folder speech-folder .venv/.installed-demo  ## train and judge all methods on the real recordings of ESC10_FOLDER, with speech from SPEECH_FOLDER (four hours on 2 cores; resumes)
	$(train_esc10)
	$(train_esc10_td)
	$(ESC10_TABLE) $(IN_DOMAIN) --output_folder results/esc10_table_id/1234
	$(ESC10_TABLE) $(OUT_OF_DOMAIN) $(SPEECH_DATA) --output_folder results/esc10_table_ood/1234
	$(ESC10_TABLE) $(LMAC_TD) --output_folder results/esc10_table_td/1234

results-quick: esc10-folder speech-folder .venv/.installed-demo  ## the same on 20 clips of each condition (minutes, if the trainings are there)
	$(train_esc10)
	$(ESC10_TABLE) $(IN_DOMAIN) --n_clips 20 --sanity=null --output_folder results/quick_table_id/1234
	$(ESC10_TABLE) $(OUT_OF_DOMAIN) $(SPEECH_DATA) --n_clips 20 --output_folder results/quick_table_ood/1234

tables: .venv/.installed-demo  ## write docs/results/results.md from the files that `make results` left
	$(PY) tools/tables.py --title "Results on ESC-10" --output docs/results/results.md \
	    --trainings results/esc10_classifier_compact/1234 results/esc10_lmac/1234 \
	        results/esc10_lmac_finetune/1234 results/ablations/esc10_finetune_16/1234 \
	        results/ablations/esc10_finetune_0/1234 results/esc10_lmac_continued/1234 \
	        results/esc10_lmac_mel/1234 results/esc10_lmac_mel_finetune/1234 \
	        results/esc10_nmf/1234 results/esc10_l2i/1234 results/esc10_codec/1234 \
	        results/ablations/esc10_td_alpha1.00/1234 results/esc10_lmac_td/1234 \
	        results/ablations/esc10_td_alpha0.00/1234 \
	        results/ablations/esc10_td_l1_published/1234 \
	    --evaluations results/esc10_table_id/1234 results/esc10_table_ood/1234 \
	        results/esc10_table_td/1234

cam-layers: esc10-folder .venv/.installed-demo  ## class activation maps of each block of the classifier, on the validation fold; writes docs/results/cam_layers.md (minutes)
	$(PY) recipes/evaluate.py hparams/esc10_cam_layers.yaml $(ESC10_DATA)
	$(PY) tools/tables.py --title "Layers of class activation maps" \
	    --output docs/results/cam_layers.md --evaluations results/esc10_cam_layers/1234

# YAMNET_FOLDER has the weights of the second listener; without it, its columns are missing.
CHECKS = $(PY) recipes/evaluate.py hparams/esc10_checks.yaml $(ESC10_DATA) $(SPEECH_DATA) --yamnet_folder "$(YAMNET_FOLDER)"
# The controls of finetuning start from the shipped model.
SHIPPED := --classifier_source esc10-classifier --pretrained_interpreter esc10-lmac

explanation-checks: esc10-folder speech-folder .venv/.installed-demo  ## the shipped models under checks beyond the papers' metrics; writes docs/results/checks.md (two hours; resumes)
	for control in esc10_lmac_continued ablations/esc10_finetune_0; do \
	    $(PY) recipes/train_lmac.py hparams/$$control.yaml $(ESC10_DATA) $(SHIPPED) || exit 1; done
	$(train_judges)
	$(CHECKS) --conditions clean --n_clips 80
	for condition in noise mixtures speech events events_speech; do \
	    $(CHECKS) --conditions $$condition --n_clips 40 \
	        --output_folder results/esc10_checks_$$condition/1234 || exit 1; done
	$(PY) tools/imprint_picture.py "$(ESC10_FOLDER)" docs/results/checks_pictures/imprint.png
	$(PY) tools/tables.py --title "Checks of explanations on ESC-10" \
	    --picture docs/results/checks_pictures/imprint.png "A mask of esc10-lmac on its clip, on white noise and on another clip" \
	    --output docs/results/checks.md --evaluations results/esc10_checks/1234 \
	        $(foreach condition,noise mixtures speech events events_speech,results/esc10_checks_$(condition)/1234)

roar: .venv/.installed-demo  ## remove and retrain, on the generated sounds; writes docs/results/roar.md (minutes, after `make demo`)
	$(PY) recipes/roar.py hparams/toy_roar.yaml
	$(PY) tools/tables.py --title "Remove and retrain on the generated sounds" \
	    --output docs/results/roar.md --evaluations results/toy_roar/1234

roar-esc10: esc10-folder .venv/.installed-demo  ## the same on ESC-10 with the shipped models; writes docs/results/roar_esc10.md (an hour; resumes)
	$(PY) recipes/roar.py hparams/esc10_roar.yaml $(ESC10_DATA)
	$(PY) tools/tables.py --title "Remove and retrain on ESC-10" \
	    --output docs/results/roar_esc10.md --evaluations results/esc10_roar/1234

ablations: .venv/.installed-demo  ## train L-MAC with one thing changed at a time, on the generated sounds; writes docs/results/ablations.md (half an hour; resumes)
	$(PY) recipes/train_classifier.py hparams/toy_classifier.yaml
	$(PY) recipes/ablations.py hparams/toy_ablations.yaml
	$(PY) tools/tables.py --title "Ablations on the generated sounds" \
	    --output docs/results/ablations.md --evaluations results/toy_ablations/1234

two-sources: esc10-folder .venv/.installed-demo  ## explain mixtures of two recordings for either class; writes docs/results/two_sources.md (half an hour; resumes)
	$(PY) recipes/train_classifier.py hparams/esc10_classifier_compact.yaml $(ESC10_DATA)
	$(PY) recipes/train_lmac.py hparams/esc10_lmac.yaml $(ESC10_DATA)
	$(PY) recipes/train_lmac.py hparams/esc10_lmac_conditional.yaml $(ESC10_DATA)
	$(PY) recipes/two_sources.py hparams/esc10_two_sources.yaml $(ESC10_DATA)
	$(PY) tools/tables.py --title "Two sources" --output docs/results/two_sources.md \
	    --trainings results/esc10_lmac_conditional/1234 \
	    --evaluations results/esc10_two_sources/1234

any-classifier: .venv/.installed-test  ## L-MAC for a 1-D CNN, an AST and a wav2vec 2.0 on the generated sounds; writes docs/results/any_classifier.md (an hour; resumes)
	for kind in waveform ast wav2vec2; do \
	    $(PY) recipes/train_classifier.py hparams/toy_$${kind}_classifier.yaml && \
	    $(PY) recipes/train_lmac.py hparams/toy_$${kind}_lmac.yaml && \
	    $(PY) recipes/evaluate.py hparams/toy_$${kind}_evaluate.yaml || exit 1; done
	$(PY) tools/tables.py --title "Classifiers of waveforms on the generated sounds" \
	    --output docs/results/any_classifier.md --trainings \
	    $(foreach kind,waveform ast wav2vec2,results/toy_$(kind)_classifier/1234 results/toy_$(kind)_lmac/1234) \
	    --evaluations $(foreach kind,waveform ast wav2vec2,results/toy_$(kind)_evaluate/1234)

zero-shot: esc10-folder .venv/.installed-demo  ## LMAC-ZS for a small CLAP on the real recordings; writes docs/results/zero_shot.md (two hours; resumes)
	$(PY) recipes/train_classifier.py hparams/esc10_classifier_compact.yaml $(ESC10_DATA)
	$(PY) recipes/train_clap.py hparams/esc10_clap.yaml $(ESC10_DATA)
	$(PY) recipes/train_lmac_zs.py hparams/esc10_lmac_zs_stft.yaml $(ESC10_DATA)
	$(PY) recipes/train_lmac_zs.py hparams/esc10_lmac_zs_sources.yaml $(ESC10_DATA)
	$(PY) recipes/train_lmac_zs.py hparams/esc10_lmac_zs_mel.yaml $(ESC10_DATA)
	$(PY) recipes/evaluate.py hparams/esc10_zs_table.yaml $(ESC10_DATA) \
	    --conditions clean,noise --output_folder results/esc10_zs_table_id/1234
	$(PY) recipes/evaluate.py hparams/esc10_zs_table.yaml $(ESC10_DATA) \
	    --conditions mixtures,white_noise --output_folder results/esc10_zs_table_ood/1234
	$(PY) recipes/two_sources.py hparams/esc10_zs_two_sources.yaml $(ESC10_DATA)
	$(PY) recipes/zero_shot_checks.py hparams/esc10_zs_checks.yaml $(ESC10_DATA)
	$(PY) tools/tables.py --title "LMAC-ZS on ESC-10" --output docs/results/zero_shot.md \
	    --trainings results/esc10_clap/1234 results/esc10_lmac_zs_stft/1234 \
	        results/esc10_lmac_zs_sources/1234 results/esc10_lmac_zs_mel/1234 \
	    --evaluations results/esc10_zs_table_id/1234 results/esc10_zs_table_ood/1234 \
	        results/esc10_zs_two_sources/1234 results/esc10_zs_checks/1234

zero-shot-ablations: .venv/.installed-demo  ## LMAC-ZS with one thing changed at a time, on the generated sounds; writes docs/results/zero_shot_ablations.md (half an hour; resumes)
	$(PY) recipes/train_classifier.py hparams/toy_classifier.yaml
	$(PY) recipes/train_clap.py hparams/toy_clap.yaml
	$(PY) recipes/ablations.py hparams/toy_zs_ablations.yaml
	$(PY) tools/tables.py --title "Ablations of LMAC-ZS on the generated sounds" \
	    --output docs/results/zero_shot_ablations.md --evaluations results/toy_zs_ablations/1234

report: esc10-folder .venv/.installed-demo  ## pages to hear and see, of the tables that `make results` left
	for table in esc10_table_id esc10_table_ood esc10_table_td; do \
	    $(PY) recipes/report.py results/$$table/1234 $(ESC10_DATA) || exit 1; done

models: esc10-folder .venv/.installed-demo  ## make the models of the package again of their trainings on ESC10_FOLDER (an hour and a half; resumes)
	$(PY) recipes/train_classifier.py hparams/esc10_classifier_compact.yaml $(ESC10_DATA)
	$(PY) recipes/train_lmac.py hparams/esc10_lmac.yaml $(ESC10_DATA)
	$(PY) recipes/train_lmac.py hparams/esc10_lmac_finetune.yaml $(ESC10_DATA)
	$(PY) recipes/train_codec.py hparams/esc10_codec.yaml $(ESC10_DATA)
	$(PY) recipes/train_lmac_td.py hparams/esc10_lmac_td.yaml $(ESC10_DATA)
	$(PY) recipes/train_clap.py hparams/esc10_clap.yaml $(ESC10_DATA)
	$(PY) recipes/train_lmac_zs.py hparams/esc10_lmac_zs_sources.yaml $(ESC10_DATA)
	$(PY) tools/models.py make $(ESC10_DATA)

models-check: esc10-folder .venv/.installed-demo  ## measure the models of the package on ESC10_FOLDER, compare with their cards, and write docs/results/models.md
	$(PY) tools/models.py check $(ESC10_DATA) --output docs/results/models.md

example: esc10-folder .venv/.installed-demo  ## the picture and the sounds of the README, from two recordings in ESC10_FOLDER (seconds)
	$(PY) tools/example.py "$(ESC10_FOLDER)"

experiments: .venv/.installed-demo  ## docs/experiments.md, the table of the YAML files, of their first lines
	$(PY) tools/experiments.py

# --- What developers run ------------------------------------------------------

# Two processes of one thread each; a file stays in one, with what its tests share. The
# files come in their order, else the slow ones, which have few tests, would come last.
IN_PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder
CODE := speechbrain_lmac data_prep benchmarks

test: .venv/.installed-test lint  ## lint, all tests and doctests (at most 6 minutes); real recordings if ESC10_FOLDER is set
	OMP_NUM_THREADS=1 $(PY) -m pytest --doctest-modules tests $(CODE) $(IN_PARALLEL)

test-extras: chromium  ## the tests that need more than Python packages: of the pages, in headless Chromium, which is installed where it is missing
	OMP_NUM_THREADS=1 $(PY) -m pytest tests -m extras -rs

test-portable: .venv/.installed-test  ## all tests under three settings of processor, threads, order, locale, folder and start method; writes docs/results/portability.md (at most an hour)
	$(PY) -m tests.portability

screenshots: test-extras  ## docs/results/report/*.png, of the page that `make report` left
	$(PY) -m tests.browser.screenshots results/esc10_table_td/1234/report/index.html docs/results/report

# Ratios of interleaved timings: nothing else should run meanwhile.
bench: .venv/.installed-test bench-training  ## what everything costs, next to the least and to the published way; writes docs/results/performance.md and docs/results/scaling.md (two to three hours)
	$(PY) -m benchmarks.run
	$(PY) -m benchmarks.page

# The decoders that are compared, for CNN14; finished trainings are only tested again.
# What a step frees stays with the process, in large pages: far fewer page faults.
bench-training: export MALLOC_MMAP_MAX_ := 0
bench-training: export MALLOC_TRIM_THRESHOLD_ := 4000000000
bench-training: export THP_MEM_ALLOC_ENABLE := 1
trained = for seed in $(3); do $(PY) $(1) $(2) --seed=$$seed || exit 1; done
bench-training: .venv/.installed-test
	test -d data/bench_toy || $(PY) data_prep/toy_prepare.py data/bench_toy --n_clips 960 --seconds 1
	$(PY) recipes/train_classifier.py benchmarks/hparams/classifier.yaml
	$(call trained,recipes/train_lmac.py,benchmarks/hparams/lmac_conv.yaml,1234 1235)
	$(call trained,recipes/train_lmac.py,benchmarks/hparams/lmac_published.yaml,1234 1235)
	test -d data/bench_toy_td || $(PY) data_prep/toy_prepare.py data/bench_toy_td --n_clips 480 --seconds 1
	$(PY) recipes/train_codec.py benchmarks/hparams/td_codec.yaml
	$(call trained,recipes/train_lmac_td.py,benchmarks/hparams/td_conv.yaml,1234)
	$(call trained,recipes/train_lmac_td.py,benchmarks/hparams/td_published.yaml,1234)

FAULTS := FAULT_RECORD=1 FAULT_KILLS=30 FAULT_FILES=5000 FAULT_SECONDS=1800 FUZZ_CASES=2100 OMP_NUM_THREADS=1
faults: .venv/.installed-test  ## kill, fill disks, damage, fuzz, and compare with the undisturbed; writes docs/results/reliability.md (a quarter of an hour)
	rm -rf results/faults
	$(FAULTS) $(PY) -m pytest tests/faults -m "faults or not faults" $(IN_PARALLEL) \
	    --junitxml=results/faults/junit.xml
	$(PY) -m tests.faults.page

check: .venv/.installed-test lint types  ## what to run before a commit: lint with types, unit tests, laws, doctests (minutes)
	@$(MAKE) --no-print-directory doctest
	$(PY) -m pytest tests/unit tests/laws

smoke: .venv/.installed-test  ## run every YAML for one step
	$(PY) -m pytest tests/recipes -m smoke

TORCH_INDEX ?=
dist: .venv/.installed-demo  ## build sdist and wheel into dist/, and try the wheel in an empty environment, without root (TORCH_INDEX=... to take torch from there)
	$(PY) -m tests.release --torch_index "$(TORCH_INDEX)"

clean:  ## remove caches, toy data and its results; keeps .venv and what was trained on real recordings
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache data/toy results/demo results/toy_* \
	    results/ablations/toy_*
	find . -path ./.venv -prune -o -path ./.git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Parts of the above -------------------------------------------------------

lint: .venv/.installed-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m yamllint --strict .
	$(PY) -m codespell_lib

types: .venv/.installed-test  ## check the types (half a minute the first time)
	$(PY) -m mypy

doctest: .venv/.installed-test
	$(PY) -m pytest --doctest-modules $(CODE)

# Debian's Chromium, where there is none, needs root.
chromium: .venv/.installed-test
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	    || { apt-get -qq update && apt-get -qq install --yes chromium >/dev/null; } \
	    || echo "There is no Chromium and none can be installed (on Debian, as root: apt install chromium). The tests that need it are skipped." >&2
	@$(INSTALL) playwright

# $(call need_folder,VARIABLE,WHAT,EXAMPLE)
define need_folder
@if [ ! -d "$($(1))" ]; then \
    echo "This needs $(2) in $(1), which is $(if $($(1)),not a folder: $($(1)),not set). For example:" >&2; \
    echo "  make results ESC10_FOLDER=data/ESC-50 SPEECH_FOLDER=data/LJSpeech-1.1" >&2; \
    exit 1; fi
endef

esc10-folder:
	$(call need_folder,ESC10_FOLDER,the folder of ESC-50 or ESC-10 (it holds meta/esc50.csv and audio/))

speech-folder:
	$(call need_folder,SPEECH_FOLDER,a folder of recordings of speech)

# --- The environment ----------------------------------------------------------

# The package is installed in place, so an environment that was moved or copied
# here would run another checkout's code; and its Python may be gone by now.
VENV_OK := $(shell [ "$$(cat .venv/.folder 2>/dev/null)" = "$$(pwd -P)" ] && \
    $(PY) -c "" 2>/dev/null && echo yes)
STALE := $(if $(VENV_OK),,stale)

# $(call check_python,COMMAND,HINT)
define check_python
found="$$("$(1)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"; \
case " $(PYTHON_VERSIONS) " in \
*" $$found "*) ;; \
*)  echo "Python $(firstword $(PYTHON_VERSIONS)) to $(lastword $(PYTHON_VERSIONS)) is needed, but '$(1)' is $${found:+Python }$${found:-not a Python that runs}." >&2; \
    echo "$(2)" >&2; \
    for version in $(PYTHON_VERSIONS); do \
        if "python$$version" -c "" 2>/dev/null; then echo "Found here: python$$version" >&2; fi; \
    done; \
    exit 1 ;; \
esac
endef

# $(call install,EXTRAS,STAMPS): a stamp is written at the very end, so that an
# interrupted installation is taken up again. setuptools comes first, pinned, and
# builds the package without an isolated environment, which constraints.txt would
# not reach.
define install
@if ! $(PY) -m pip --version >/dev/null 2>&1; then \
    $(call check_python,$(PYTHON),Choose another one: make demo PYTHON=python3.12) && \
    if ! "$(PYTHON)" -c "import venv, ensurepip" 2>/dev/null; then \
        echo "'$(PYTHON)' has no working venv module (on Debian and Ubuntu: apt install python$$found-venv)." >&2; exit 1; \
    fi && \
    echo "Making .venv with Python $$found" && \
    "$(PYTHON)" -m venv --clear .venv; \
fi
@$(call check_python,$(PY),The folder .venv is of another Python. Remove it (rm -rf .venv) and call make again.)
@rm -f .venv/.installed-*
@echo "Installing into .venv (a few minutes; on Linux 3 GB to download and 6 GB on disk)"
@$(INSTALL) setuptools
@$(INSTALL) --no-build-isolation -e ".[$(1)]"
@pwd -P > .venv/.folder
@touch $(2)
endef

.venv/.installed-demo: setup.py constraints.txt pyproject.toml $(STALE)
	$(call install,$(DEMO_EXTRAS),.venv/.installed-demo)

.venv/.installed-test: setup.py constraints.txt pyproject.toml $(STALE)
	$(call install,$(TEST_EXTRAS),.venv/.installed-demo .venv/.installed-test)
