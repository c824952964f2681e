#pragma once

#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
    uint16_t bits;
    __nv_bfloat16() = default;
    explicit __nv_bfloat16(float number) {  // to nearest, ties to even; NaN is not needed here
        uint32_t whole;
        std::memcpy(&whole, &number, sizeof whole);
        bits = uint16_t((whole + 0x7fff + (whole >> 16 & 1)) >> 16);
    }
    operator float() const {
        const uint32_t whole = uint32_t(bits) << 16;
        float number;
        std::memcpy(&number, &whole, sizeof number);
        return number;
    }
};
