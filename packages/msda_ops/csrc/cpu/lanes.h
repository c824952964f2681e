// Lanes: LANES numbers as one vector; load, store and sum them.
#pragma once

#include <string.h>

#include "kernels.h"

namespace msda::cpu {

#if defined(__GNUC__)

template <typename Real, int BYTES = LANE_BYTES>
struct Vector {
    typedef Real type __attribute__((vector_size(BYTES)));
};

template <typename Real>
using Lanes = typename Vector<Real>::type;

template <typename Real>
MSDA_INLINE Real sum_lanes(const typename Vector<Real, 2 * sizeof(Real)>::type& pair) {
    return pair[0] + pair[1];
}

template <typename Real, typename Wide>
MSDA_INLINE Real sum_lanes(const Wide& lanes) {
    typedef typename Vector<Real, int(sizeof(Wide) / 2)>::type Half;
    Half low, high;
    __builtin_memcpy(&low, &lanes, sizeof(Half));
    __builtin_memcpy(&high, reinterpret_cast<const char*>(&lanes) + sizeof(Half), sizeof(Half));
    return sum_lanes<Real>(Half(low + high));
}

#else  // the same with an array, for compilers without vector types

template <typename Real>
struct Lanes {
    Real lane[LANES<Real>];

    Real& operator[](int i) { return lane[i]; }
    Real operator[](int i) const { return lane[i]; }
    Lanes& operator+=(const Lanes& other) {
        for (int i = 0; i < LANES<Real>; ++i) lane[i] += other.lane[i];
        return *this;
    }
    friend Lanes operator*(const Lanes& a, const Lanes& b) {
        Lanes product;
        for (int i = 0; i < LANES<Real>; ++i) product.lane[i] = a.lane[i] * b.lane[i];
        return product;
    }
    friend Lanes operator*(Real a, const Lanes& b) {
        Lanes product;
        for (int i = 0; i < LANES<Real>; ++i) product.lane[i] = a * b.lane[i];
        return product;
    }
};

template <typename Real>
MSDA_INLINE Real sum_lanes(const Lanes<Real>& lanes) {
    Real total = 0;
    for (int i = 0; i < LANES<Real>; ++i) total += lanes[i];
    return total;
}

#endif

template <typename Real>
MSDA_INLINE Lanes<Real> load(const Real* from) {
    Lanes<Real> lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

template <typename Real>
MSDA_INLINE void store(Real* to, const Lanes<Real>& lanes) {
    memcpy(to, &lanes, sizeof lanes);
}

}  // namespace msda::cpu
