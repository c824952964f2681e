// Errors inside the library; the C functions turn them into a code and a text.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "msda.h"

namespace msda {

struct Error : std::runtime_error {
    Error(msda_status status, const std::string& what) : std::runtime_error(what), status(status) {}
    msda_status status;
};

int report(msda_status status, const char* text) noexcept;  // remembers the text for msda_error()

template <typename Function>
int guarded(Function&& function) noexcept {
    try {
        function();
        return MSDA_OK;
    } catch (const Error& error) {
        return report(error.status, error.what());
    } catch (const std::bad_alloc&) {
        return report(MSDA_OUT_OF_MEMORY, "not enough memory for the kernel's scratch space");
    } catch (const std::exception& error) {
        return report(MSDA_BAD_ARGUMENT, error.what());
    }
}

}  // namespace msda
