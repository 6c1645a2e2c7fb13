#!/usr/bin/env python3
"""Static stand-ins for the CUDA libraries, for a program that starts with and without an NVIDIA driver.

    lazy_stubs.py CUDARC OUT

CUDARC is the source of the cudarc crate; OUT gets lib{cuda,cublas,cublasLt,curand,nvrtc,cudnn}.a. Each of their functions
opens the real library when one of them is first called and jumps into it; where it is missing, they return an error code.
CUDA_STUB_VERBOSE=1 prints what could not be opened or found. x86-64 Linux only; needs gcc and ar.
"""

import os
import re
import subprocess
import sys

# Link name: cudarc's module, prefix of the functions, names of the library, what is returned where there is none.
LIBRARIES = {
    "cuda": ("driver", "cu", ["libcuda.so.1"], 100),  # CUDA_ERROR_NO_DEVICE
    "cublas": ("cublas", "cublas", ["libcublas.so.13", "libcublas.so.12"], 1),  # NOT_INITIALIZED
    "cublasLt": ("cublaslt", "cublasLt", ["libcublasLt.so.13", "libcublasLt.so.12"], 1),
    "curand": ("curand", "curand", ["libcurand.so.10"], 101),
    "nvrtc": ("nvrtc", "nvrtc", ["libnvrtc.so.13", "libnvrtc.so.12"], 1),
    "cudnn": ("cudnn", "cudnn", ["libcudnn.so.9"], 1),
}

RESOLVE = """
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const libraries[] = {%(libraries)s, 0};
static const char *const functions[] = {%(functions)s};
static void *library;
static int tried;

static long missing(void) { return %(error)d; }
static const char *missing_text(void) { return "CUDA library not available"; }

static int gives_text(const char *name) {
  return strstr(name, "ErrorString") || strstr(name, "StatusName") || strstr(name, "StatusString");
}

__attribute__((used, visibility("hidden"))) void *resolve_%(name)s(unsigned long index) {
  if (!__atomic_load_n(&tried, __ATOMIC_ACQUIRE)) {
    void *found = 0;
    for (int i = 0; libraries[i] && !found; i++) found = dlopen(libraries[i], RTLD_NOW | RTLD_GLOBAL);
    if (!found && getenv("CUDA_STUB_VERBOSE")) fprintf(stderr, "%%s: %%s\\n", libraries[0], dlerror());
    __atomic_store_n(&library, found, __ATOMIC_RELEASE);
    __atomic_store_n(&tried, 1, __ATOMIC_RELEASE);
  }
  void *function = library ? dlsym(library, functions[index]) : 0;
  if (function) return function;
  if (library && getenv("CUDA_STUB_VERBOSE")) fprintf(stderr, "missing symbol %%s\\n", functions[index]);
  /* cuGetErrorString and its like return a code and write the text; the others return the text. */
  int text = gives_text(functions[index]) && strncmp(functions[index], "cuGet", 5);
  return text ? (void *)missing_text : (void *)missing;
}
"""


def assembly(name, functions):
    """Each function jumps through a pointer that at first leads to its resolver, which keeps every argument register."""
    registers = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax"]
    lines = [".data", ".balign 8"]
    lines += [f".Lpointer_{f}: .quad .Lresolve_{f}" for f in functions]
    # On the stack: address of the pointer, index, return address.
    lines += [".text", f".Lcommon_{name}:"]
    lines += [f"pushq %{register}" for register in registers]
    lines += ["subq $128,%rsp"] + [f"movups %xmm{k},{16 * k}(%rsp)" for k in range(8)]
    lines += ["movq 192(%rsp),%rdi", "pushq %rbx", "movq %rsp,%rbx", "andq $-16,%rsp"]
    lines += [f"call resolve_{name}", "movq %rbx,%rsp", "popq %rbx"]
    lines += ["movq 184(%rsp),%r11", "movq %rax,(%r11)", "movq %rax,%r11"]
    lines += [f"movups {16 * k}(%rsp),%xmm{k}" for k in range(8)] + ["addq $128,%rsp"]
    lines += [f"popq %{register}" for register in reversed(registers)]
    lines += ["addq $16,%rsp", "jmp *%r11"]
    for index, f in enumerate(functions):
        lines += [f".globl {f}", f".hidden {f}", f".type {f},@function", f"{f}:", f"jmp *.Lpointer_{f}(%rip)"]
        lines += [f".Lresolve_{f}:", f"pushq ${index}", "subq $8,%rsp", f"leaq .Lpointer_{f}(%rip),%r11"]
        lines += ["movq %r11,(%rsp)", f"jmp .Lcommon_{name}"]
    return "__asm__(\n" + "\n".join(f'"{line}\\n"' for line in lines) + ");\n"


def quoted(names):
    return ", ".join(f'"{name}"' for name in names)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    cudarc, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for name, (module, prefix, libraries, error) in LIBRARIES.items():
        with open(f"{cudarc}/src/{module}/sys/mod.rs", encoding="utf-8") as file:
            functions = sorted(set(re.findall(rf"fn ({prefix}[A-Z]\w*)\s*\(", file.read())))
        values = {"name": name, "libraries": quoted(libraries), "functions": quoted(functions), "error": error}
        stem, archive = f"{out}/{name}", f"{out}/lib{name}.a"
        with open(f"{stem}.c", "w", encoding="utf-8") as file:
            file.write(RESOLVE % values + assembly(name, functions))
        subprocess.check_call(["gcc", "-O2", "-fPIC", "-c", f"{stem}.c", "-o", f"{stem}.o"])
        if os.path.exists(archive):
            os.remove(archive)
        subprocess.check_call(["ar", "rcs", archive, f"{stem}.o"])
        os.remove(f"{stem}.c")
        os.remove(f"{stem}.o")


if __name__ == "__main__":
    main()
