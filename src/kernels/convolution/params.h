// SPDX-License-Identifier: Apache-2.0
// Parameters of the window kernel on accelerators: compiled into the host and into the kernel's source, so plain C only.
#ifndef INVAR_WINDOW_PARAMS
#define INVAR_WINDOW_PARAMS

#ifndef INVAR_I64  // 64 bits: OpenCL C and MSL call them otherwise
#define INVAR_I64 long long
#endif

struct WindowParams {
    INVAR_I64 total;  // elements of y
    INVAR_I64 channels, height, width;
    INVAR_I64 out_channels, out_h, out_w;
    INVAR_I64 kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    INVAR_I64 count_padding;
};

#endif
