// SPDX-License-Identifier: Apache-2.0
// Functions of a SIMD-group: each is a meeting of its lanes, to which each brings a value. Part of metal_stdlib.
#pragma once

namespace metal {

#define MSL_COLLECTIVE \
    template <class T> \
    __attribute__((always_inline)) inline

// Only the types that Metal has there: an absent one is refused at the call.
template <class T>
constexpr bool msl_exchanged =
    sizeof(msl_element<T>) <= 4 || is_same_v<msl_element<T>, long> || is_same_v<msl_element<T>, ulong>;
template <class T>
constexpr bool msl_reduced = msl_width<T> != 3 && sizeof(msl_element<T>) <= 4 && !is_same_v<T, bool> &&
                             !is_same_v<msl_element<T>, bfloat>;

MSL_COLLECTIVE const MslMeeting* msl_bring(T value, int line) {
    static_assert(msl_exchanged<T> && sizeof(T) <= kMslMostBytes, "SIMD-groups do not exchange this type");
    return msl_collect(&value, sizeof value, line);
}
template <class T>
inline T msl_brought(const MslMeeting* meeting, unsigned lane) {
    T value;
    __builtin_memcpy(&value, meeting->values + lane * sizeof value, sizeof value);
    return value;
}
// What a lane that is not there gives: nothing that a kernel may count on.
template <class T>
inline T msl_of_lane(const MslMeeting* meeting, unsigned lane) {
    if (lane < meeting->lanes) return msl_brought<T>(meeting, lane);
    T nothing;
    __builtin_memset(&nothing, 0xff, sizeof nothing);
    return nothing;
}

// Integers wrap.
struct MslSum {
    template <class T>
    __attribute__((no_sanitize("signed-integer-overflow"))) static T of(T a, T b) {
        return static_cast<T>(a + b);
    }
};
struct MslProduct {
    template <class T>
    __attribute__((no_sanitize("signed-integer-overflow"))) static T of(T a, T b) {
        return static_cast<T>(a * b);
    }
};
struct MslMin {
    template <class T>
    static T of(T a, T b) {
        return min(a, b);
    }
};
struct MslMax {
    template <class T>
    static T of(T a, T b) {
        return max(a, b);
    }
};
struct MslAnd {
    template <class T>
    static T of(T a, T b) {
        return static_cast<T>(a & b);
    }
};
struct MslOr {
    template <class T>
    static T of(T a, T b) {
        return static_cast<T>(a | b);
    }
};
struct MslXor {
    template <class T>
    static T of(T a, T b) {
        return static_cast<T>(a ^ b);
    }
};

// Lane k takes in lane k + 16, then k + 8, down to k + 1: what a butterfly gives every lane. order is 0, 1, 2, ... unless the
// schedule says otherwise.
template <class Operation, class T>
inline T msl_reduce(MslMeeting* meeting) {
    T values[kMslSimdWidth];
    if (!meeting->reduced) {
        for (unsigned k = 0; k < meeting->lanes; ++k) values[k] = msl_brought<T>(meeting, meeting->order[k]);
        for (unsigned stride = kMslSimdWidth / 2; stride > 0; stride /= 2)
            for (unsigned k = 0; k < stride && k + stride < meeting->lanes; ++k)
                values[k] = Operation::template of<T>(values[k], values[k + stride]);
        __builtin_memcpy(meeting->result, &values[0], sizeof(T));
        meeting->reduced = true;
    }
    T result;
    __builtin_memcpy(&result, meeting->result, sizeof result);
    return result;
}
#define MSL_REDUCTION(NAME, OPERATION)                                                                     \
    MSL_COLLECTIVE T simd_##NAME(T value, int line = __builtin_LINE()) {                                   \
        static_assert(msl_reduced<T>, "no reduction of this type in Metal");                               \
        return msl_reduce<OPERATION, T>(msl_collect(&value, sizeof value, line));                          \
    }                                                                                                      \
    MSL_COLLECTIVE T quad_##NAME(T value, int line = __builtin_LINE()) {                                   \
        static_assert(msl_reduced<T>, "no reduction of this type in Metal");                               \
        const MslMeeting* const meeting = msl_collect(&value, sizeof value, line);                         \
        const unsigned first = MSL_RUNTIME.simd_lane() & ~3u;                                              \
        const T low =                                                                                      \
            OPERATION::template of<T>(msl_of_lane<T>(meeting, first), msl_of_lane<T>(meeting, first + 2)); \
        const T high = OPERATION::template of<T>(msl_of_lane<T>(meeting, first + 1),                       \
                                                 msl_of_lane<T>(meeting, first + 3));                      \
        return OPERATION::template of<T>(low, high);                                                       \
    }
MSL_REDUCTION(sum, MslSum)
MSL_REDUCTION(product, MslProduct)
MSL_REDUCTION(min, MslMin)
MSL_REDUCTION(max, MslMax)
MSL_REDUCTION(and, MslAnd)
MSL_REDUCTION(or, MslOr)
MSL_REDUCTION(xor, MslXor)
#undef MSL_REDUCTION

// From the first lane on; the schedule does not change it, as lanes have their order in what it means.
#define MSL_PREFIX(NAME, OPERATION, NEUTRAL)                                              \
    MSL_COLLECTIVE T simd_prefix_inclusive_##NAME(T value, int line = __builtin_LINE()) { \
        static_assert(msl_reduced<T>, "no prefix sum of this type in Metal");             \
        const MslMeeting* const meeting = msl_collect(&value, sizeof value, line);        \
        T result = msl_brought<T>(meeting, 0);                                            \
        for (unsigned k = 1; k <= MSL_RUNTIME.simd_lane(); ++k)                           \
            result = OPERATION::template of<T>(result, msl_brought<T>(meeting, k));       \
        return result;                                                                    \
    }                                                                                     \
    MSL_COLLECTIVE T simd_prefix_exclusive_##NAME(T value, int line = __builtin_LINE()) { \
        static_assert(msl_reduced<T>, "no prefix sum of this type in Metal");             \
        const MslMeeting* const meeting = msl_collect(&value, sizeof value, line);        \
        T result = static_cast<T>(static_cast<msl_element<T>>(NEUTRAL));                  \
        for (unsigned k = 0; k < MSL_RUNTIME.simd_lane(); ++k)                            \
            result = OPERATION::template of<T>(result, msl_brought<T>(meeting, k));       \
        return result;                                                                    \
    }
MSL_PREFIX(sum, MslSum, 0)
MSL_PREFIX(product, MslProduct, 1)
#undef MSL_PREFIX

// A value of another lane; beyond the group's end a lane keeps its own.
#define MSL_SHUFFLE(NAME, SOURCE)                                                                      \
    MSL_COLLECTIVE T simd_##NAME(T value, ushort argument, int line = __builtin_LINE()) {              \
        const MslMeeting* const meeting = msl_bring(value, line);                                      \
        const unsigned lane = MSL_RUNTIME.simd_lane(), source = (SOURCE);                              \
        (void)lane;                                                                                    \
        return source < kMslSimdWidth ? msl_of_lane<T>(meeting, source) : value;                       \
    }                                                                                                  \
    MSL_COLLECTIVE T quad_##NAME(T value, ushort argument, int line = __builtin_LINE()) {              \
        const MslMeeting* const meeting = msl_bring(value, line);                                      \
        const unsigned lane = MSL_RUNTIME.simd_lane() & 3u, source = (SOURCE);                         \
        (void)lane;                                                                                    \
        return source < 4 ? msl_of_lane<T>(meeting, (MSL_RUNTIME.simd_lane() & ~3u) + source) : value; \
    }
MSL_SHUFFLE(shuffle, argument)
MSL_SHUFFLE(shuffle_xor, lane ^ argument)
MSL_SHUFFLE(shuffle_down, lane + argument)
MSL_SHUFFLE(shuffle_up, lane - argument)
MSL_SHUFFLE(broadcast, argument)
#undef MSL_SHUFFLE
MSL_COLLECTIVE T simd_shuffle_rotate_down(T value, ushort delta, int line = __builtin_LINE()) {
    const MslMeeting* const meeting = msl_bring(value, line);
    return msl_of_lane<T>(meeting, (MSL_RUNTIME.simd_lane() + delta) % kMslSimdWidth);
}
MSL_COLLECTIVE T simd_shuffle_rotate_up(T value, ushort delta, int line = __builtin_LINE()) {
    const MslMeeting* const meeting = msl_bring(value, line);
    return msl_of_lane<T>(meeting, (MSL_RUNTIME.simd_lane() - delta) % kMslSimdWidth);
}
MSL_COLLECTIVE T simd_broadcast_first(T value, int line = __builtin_LINE()) {
    return msl_brought<T>(msl_bring(value, line), 0);
}

class simd_vote {
public:
    using vote_t = ulong;
    explicit constexpr simd_vote(vote_t votes = 0) : votes_(votes) {}
    explicit constexpr operator vote_t() const { return votes_; }
    constexpr bool all() const { return votes_ == 0xffffffffu; }
    constexpr bool any() const { return votes_ != 0; }

private:
    vote_t votes_;
};
__attribute__((always_inline)) inline simd_vote simd_ballot(bool vote, int line = __builtin_LINE()) {
    const MslMeeting* const meeting = msl_bring(static_cast<uchar>(vote), line);
    ulong votes = 0;
    for (unsigned k = 0; k < meeting->lanes; ++k) votes |= static_cast<ulong>(meeting->values[k] & 1) << k;
    return simd_vote(votes);
}
__attribute__((always_inline)) inline simd_vote simd_active_threads_mask(int line = __builtin_LINE()) {
    return simd_ballot(true, line);
}
__attribute__((always_inline)) inline bool simd_any(bool vote, int line = __builtin_LINE()) {
    return simd_ballot(vote, line).any();
}
__attribute__((always_inline)) inline bool simd_all(bool vote, int line = __builtin_LINE()) {
    return !simd_ballot(!vote, line).any();
}
__attribute__((always_inline)) inline bool simd_is_first() { return MSL_RUNTIME.simd_lane() == 0; }

#undef MSL_COLLECTIVE

}  // namespace metal
