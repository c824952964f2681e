#pragma once

struct __half {
    _Float16 bits;
    __half() = default;
    explicit __half(float number) : bits(_Float16(number)) {}
    operator float() const { return float(bits); }
};
