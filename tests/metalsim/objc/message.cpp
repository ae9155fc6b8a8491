// SPDX-License-Identifier: Apache-2.0
// objc_msgSend for x86-64: finds the method's function and jumps to it with every argument register, and the stack, as the caller
// left them. _fpret is the same; _stret has the address of the result first, so self and the selector are one register further.
#if !defined(__x86_64__)
#error "the software Metal device is for x86-64"
#endif

// clang-format off
__asm__(R"(
    .macro SEND name, self, selector
    .globl \name
    .type \name, @function
    .p2align 4
\name:
    .cfi_startproc
    test %\self, %\self
    jz metalsim_zero
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    sub $176, %rsp
    mov %rdi, -8(%rbp)
    mov %rsi, -16(%rbp)
    mov %rdx, -24(%rbp)
    mov %rcx, -32(%rbp)
    mov %r8, -40(%rbp)
    mov %r9, -48(%rbp)
    movups %xmm0, -64(%rbp)
    movups %xmm1, -80(%rbp)
    movups %xmm2, -96(%rbp)
    movups %xmm3, -112(%rbp)
    movups %xmm4, -128(%rbp)
    movups %xmm5, -144(%rbp)
    movups %xmm6, -160(%rbp)
    movups %xmm7, -176(%rbp)
    mov %\self, %rax
    mov %\selector, %rsi
    mov %rax, %rdi
    call metalsim_find
    mov %rax, %r11
    mov -8(%rbp), %rdi
    mov -16(%rbp), %rsi
    mov -24(%rbp), %rdx
    mov -32(%rbp), %rcx
    mov -40(%rbp), %r8
    mov -48(%rbp), %r9
    movups -64(%rbp), %xmm0
    movups -80(%rbp), %xmm1
    movups -96(%rbp), %xmm2
    movups -112(%rbp), %xmm3
    movups -128(%rbp), %xmm4
    movups -144(%rbp), %xmm5
    movups -160(%rbp), %xmm6
    movups -176(%rbp), %xmm7
    leave
    .cfi_def_cfa %rsp, 8
    jmp *%r11
    .cfi_endproc
    .size \name, .-\name
    .endm

    .text
    SEND objc_msgSend, rdi, rsi
    SEND objc_msgSend_fpret, rdi, rsi
    SEND objc_msgSend_stret, rsi, rdx

    .globl metalsim_zero
    .hidden metalsim_zero
    .hidden metalsim_find
    .type metalsim_zero, @function
metalsim_zero:
    xor %eax, %eax
    xor %edx, %edx
    pxor %xmm0, %xmm0
    pxor %xmm1, %xmm1
    ret
    .size metalsim_zero, .-metalsim_zero
)");
// clang-format on
