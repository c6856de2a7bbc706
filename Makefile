# How `sam build` compiles the function without cargo-lambda, with cargo alone:
#
#   sam build --config-env makefile
#   ARCHITECTURE=x86_64 sam build --config-env makefile --parameter-overrides Architecture=x86_64 BuildMethod=makefile
#
# Lambda's system (Amazon Linux 2023) has glibc 2.34. A binary linked on a newer one may want more,
# and then does not start; that is found out here. Build on Amazon Linux 2023, or with cargo-lambda.

# sam does not tell which; the template's parameter Architecture must say the same.
ARCHITECTURE ?= arm64
GLIBC_MINOR_MAX := 34

target_arm64 := aarch64-unknown-linux-gnu
target_x86_64 := x86_64-unknown-linux-gnu
target := $(target_$(ARCHITECTURE))
ifeq ($(target),)
$(error ARCHITECTURE is arm64 or x86_64, not '$(ARCHITECTURE)')
endif

machine := $(subst aarch64,arm64,$(shell uname -m))
ifneq ($(machine),$(ARCHITECTURE))
# Debian and Ubuntu have these as gcc-aarch64-linux-gnu and gcc-x86-64-linux-gnu.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER ?= aarch64-linux-gnu-gcc
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER ?= x86_64-linux-gnu-gcc
endif

.PHONY: build-LakefeedFunction
build-LakefeedFunction:
	cargo build --locked --release --target $(target) --bin lakefeed-lambda
	cp "$${CARGO_TARGET_DIR:-target}/$(target)/release/lakefeed-lambda" "$(ARTIFACTS_DIR)/bootstrap"
	@wanted=$$(grep -aoE 'GLIBC_2\.[0-9]+' "$(ARTIFACTS_DIR)/bootstrap" | cut -d. -f2 | sort -n | tail -n 1); \
	if [ "$${wanted:-0}" -gt $(GLIBC_MINOR_MAX) ]; then \
	    echo "the binary wants glibc 2.$$wanted, and Lambda has 2.$(GLIBC_MINOR_MAX): build on Amazon Linux 2023, or with cargo-lambda" >&2; \
	    exit 1; \
	fi
