// SPDX-License-Identifier: Apache-2.0
// simdgroup_matrix of 8 by 8 elements, two of them with each lane. Lane l has elements 2 * (l % 4) and the next of row l / 4: a
// choice of this device, and not that of Apple's, which Apple does not document either. Part of metal_stdlib.
#pragma once

namespace metal {

template <class T, int Columns, int Rows>
struct simdgroup_matrix {
    static_assert(Columns == 8 && Rows == 8, "matrices of a SIMD-group have 8 by 8 elements");
    static_assert(is_floating_point_v<T>, "matrices of a SIMD-group hold float, half or bfloat");
    using storage_type = vec<T, 2>;
    // Holds nothing in the beginning.
    simdgroup_matrix() : elements_(static_cast<storage_type>(static_cast<T>(NAN))) {}
    explicit simdgroup_matrix(T diagonal) : elements_{} {
        for (unsigned k = 0; k < 2; ++k)
            if (row() == column() + k) elements_[k] = diagonal;
    }
    storage_type& thread_elements() { return elements_; }
    const storage_type& thread_elements() const { return elements_; }

    static unsigned row() { return MSL_RUNTIME.simd_lane() / 4; }
    static unsigned column() { return MSL_RUNTIME.simd_lane() % 4 * 2; }

private:
    storage_type elements_;
};
using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;
using simdgroup_bfloat8x8 = simdgroup_matrix<bfloat, 8, 8>;

template <class T, int Columns, int Rows = Columns>
inline simdgroup_matrix<T, Columns, Rows> make_filled_simdgroup_matrix(T value) {
    simdgroup_matrix<T, Columns, Rows> filled;
    filled.thread_elements() = static_cast<vec<T, 2>>(value);
    return filled;
}

// All lanes of the group come with the same place; nobody waits, so that data that another lane has just written needs a
// barrier before it is loaded.
inline void msl_same_place(const volatile void* place, ulong row, ulong2 origin, bool transpose, int line) {
    const ulong number =
        reinterpret_cast<ulong>(place) * 31 + row * 1009 + origin[0] * 523 + origin[1] * 7919 + transpose;
    MSL_RUNTIME.same(line, number);
}

#ifdef MSL_CHECK
#define MSL_ADDRESS(pointer) nullptr
#else
#define MSL_ADDRESS(pointer) pointer
#endif
#define MSL_MATRIX_ACCESS(SPACE)                                                                        \
    template <class T>                                                                                  \
    inline void simdgroup_load(simdgroup_matrix<T, 8, 8>& matrix, const SPACE T* source,                \
                               ulong elements_per_row = 8, ulong2 origin = {}, bool transpose = false,  \
                               int line = __builtin_LINE()) {                                           \
        msl_same_place(MSL_ADDRESS(source), elements_per_row, origin, transpose, line);                 \
        const SPACE T* const corner = source + origin[1] * elements_per_row + origin[0];                \
        const ulong row = matrix.row(), column = matrix.column();                                       \
        for (unsigned k = 0; k < 2; ++k)                                                                \
            matrix.thread_elements()[k] = transpose ? corner[(column + k) * elements_per_row + row]     \
                                                    : corner[row * elements_per_row + column + k];      \
    }                                                                                                   \
    template <class T>                                                                                  \
    inline void simdgroup_store(const simdgroup_matrix<T, 8, 8>& matrix, SPACE T* destination,          \
                                ulong elements_per_row = 8, ulong2 origin = {}, bool transpose = false, \
                                int line = __builtin_LINE()) {                                          \
        msl_same_place(MSL_ADDRESS(destination), elements_per_row, origin, transpose, line);            \
        SPACE T* const corner = destination + origin[1] * elements_per_row + origin[0];                 \
        const ulong row = matrix.row(), column = matrix.column();                                       \
        for (unsigned k = 0; k < 2; ++k)                                                                \
            (transpose ? corner[(column + k) * elements_per_row + row]                                  \
                       : corner[row * elements_per_row + column + k]) = matrix.thread_elements()[k];    \
    }
#ifdef MSL_CHECK
MSL_MATRIX_ACCESS(__attribute__((address_space(1))))
MSL_MATRIX_ACCESS(__attribute__((address_space(3))))
#else
MSL_MATRIX_ACCESS()
#endif
#undef MSL_MATRIX_ACCESS
#undef MSL_ADDRESS

// Of f32 inside, each product added to the sum before it without a rounding between, from the first column of a to the last;
// rounded to the type of the result in the end.
template <class D, class A, class B, class C>
__attribute__((always_inline)) inline void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d,
                                                                         const simdgroup_matrix<A, 8, 8>& a,
                                                                         const simdgroup_matrix<B, 8, 8>& b,
                                                                         const simdgroup_matrix<C, 8, 8>& c,
                                                                         int line = __builtin_LINE()) {
    const float brought[4] = {
        static_cast<float>(a.thread_elements()[0]), static_cast<float>(a.thread_elements()[1]),
        static_cast<float>(b.thread_elements()[0]), static_cast<float>(b.thread_elements()[1])};
    static_assert(sizeof brought <= kMslMostBytes, "the parts of two matrices");
    const MslMeeting* const meeting = msl_collect(brought, sizeof brought, line);
    const float* const parts = reinterpret_cast<const float*>(meeting->values);  // of lanes: a, a, b, b
    const unsigned row = d.row(), column = d.column();
    float sums[2] = {static_cast<float>(c.thread_elements()[0]), static_cast<float>(c.thread_elements()[1])};
    for (unsigned k = 0; k < 8; ++k) {
        const float left = parts[(row * 4 + k / 2) * 4 + k % 2];
        const float* const right = parts + (k * 4 + column / 2) * 4 + 2;
        sums[0] = __builtin_fmaf(left, right[0], sums[0]);
        sums[1] = __builtin_fmaf(left, right[1], sums[1]);
    }
    d.thread_elements()[0] = static_cast<D>(sums[0]);
    d.thread_elements()[1] = static_cast<D>(sums[1]);
}
template <class D, class A, class B>
__attribute__((always_inline)) inline void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d,
                                                              const simdgroup_matrix<A, 8, 8>& a,
                                                              const simdgroup_matrix<B, 8, 8>& b,
                                                              int line = __builtin_LINE()) {
    simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<float, 8, 8>(0.0f), line);
}

}  // namespace metal
