# SPDX-License-Identifier: Apache-2.0
#
# What looks at the code itself, apart from running the module: fuzz targets,
# coverage, lint. Part of Makefile.apxs, which includes it; each of the three
# builds into a folder of its own below $(BUILD).

FUZZ_CC  ?= clang
SECONDS  ?= 60
COVER    ?= 90

targets  := $(filter-out fuzz/replay.c,$(sort $(wildcard fuzz/*.c)))
names    := $(patsubst fuzz/%.c,%,$(targets))
replays  := $(patsubst %,$(BUILD)/fuzz/%,$(names))
fuzzers  := $(patsubst %,$(BUILD)/fuzzer/%,$(names))

programs: $(replays)

# ---- fuzzing ------------------------------------------------------------------

.PHONY: fuzz fuzzers coverage lint

# What was found lies in $(BUILD)/found, to be replayed by $(BUILD)/fuzz/NAME FILE.
fuzz:
	+@tools/need tools/deps-fuzz
	+@mkdir -p $(BUILD)/found
	+@$(MAKE) --no-print-directory -f $(self) fuzzers BUILD=$(BUILD)/clang CC=$(FUZZ_CC) \
	    SAN=fuzzer-no-link,address,undefined FUZZ='$(FUZZ)'
	@for name in $(or $(FUZZ),$(names)); do \
	    mkdir -p $(BUILD)/grown/$$name; \
	    echo "fuzz $$name, $(SECONDS) s"; \
	    $(BUILD)/clang/fuzzer/$$name -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
	        -verbosity=0 -artifact_prefix=$(BUILD)/found/$$name- $(BUILD)/grown/$$name fuzz/corpus/$$name || exit 1; \
	done

fuzzers: $(if $(FUZZ),$(patsubst %,$(BUILD)/fuzzer/%,$(FUZZ)),$(fuzzers))

$(BUILD)/obj/fuzz/%.o: fuzz/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC  $<'
	$(Q)$(pure_compile) $(WERROR) -MMD -MP -c -o $@ $<

$(replays): $(BUILD)/fuzz/%: $(BUILD)/obj/fuzz/%.o $(BUILD)/obj/fuzz/replay.o $(library)
	@mkdir -p $(@D)
	@echo '  LD  $@'
	$(Q)$(link) -o $@ $^ -lm

$(fuzzers): $(BUILD)/fuzzer/%: $(BUILD)/obj/fuzz/%.o $(library)
	@mkdir -p $(@D)
	@echo '  LD  $@'
	$(Q)$(link) -fsanitize=fuzzer -o $@ $^ -lm

# ---- lint -----------------------------------------------------------------------

# -fanalyzer of gcc 12 knows C well enough; what it says wrongly is switched off:
#   malloc-leak, file-leak   a test that ends with its program
#   fd-leak                  descriptors that live as long as the process
#   use-of-uninitialized-value, null-*  take for possible what a loop before it excludes; clang-tidy looks at these
analyze := -fanalyzer -Wno-analyzer-malloc-leak -Wno-analyzer-file-leak -Wno-analyzer-fd-leak \
           -Wno-analyzer-use-of-uninitialized-value -Wno-analyzer-null-dereference -Wno-analyzer-null-argument \
           -Wno-analyzer-possible-null-dereference -Wno-analyzer-possible-null-argument
linted := $(glue) $(pure) $(units) $(targets) fuzz/replay.c $(benches)

lint: $(patsubst %.c,$(BUILD)/lint/%.tidy,$(linted)) $(patsubst %.c,$(BUILD)/lint/%.analyzed,$(linted))

$(BUILD)/lint/needed: tools/deps-fuzz
	@mkdir -p $(@D)
	@tools/need tools/deps-fuzz
	@touch $@

lint_compile = $(filter-out -fstack-clash-protection,$(glue_compile))

$(BUILD)/lint/%.tidy: %.c .clang-tidy tools/lint $(wildcard include/*) $(BUILD)/lint/needed
	@mkdir -p $(@D)
	@echo '  TIDY  $<'
	@tools/lint $< $(filter-out $(CC),$(lint_compile))
	@touch $@

$(BUILD)/lint/%.analyzed: %.c $(wildcard include/*) $(BUILD)/lint/needed
	@mkdir -p $(@D)
	@echo '  ANALYZE  $<'
	@$(glue_compile) $(analyze) -Werror -c -o /dev/null $<
	@touch $@

# ---- coverage -------------------------------------------------------------------

# Counters are atomic words, since tests have threads and processes.
coverage:
	+@tools/need
	+@$(MAKE) --no-print-directory -f $(self) programs BUILD=$(BUILD)/coverage CFLAGS='-O0 -U_FORTIFY_SOURCE --coverage \
	    -fprofile-update=atomic' LDFLAGS=--coverage
	@find $(BUILD)/coverage -name '*.gcda' -delete
	@$(PROVE) -Q -j$(JOBS) $(patsubst $(BUILD)/%,$(BUILD)/coverage/%,$(programs))
	@tools/coverage $(BUILD)/coverage/obj $(COVER) $(pure)

.SECONDARY: $(call object,$(targets))
-include $(patsubst %.o,%.d,$(call object,$(targets) fuzz/replay.c))
