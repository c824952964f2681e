// The part of the C interface that says what this library is.
#include "build_info.h"  // written by CMakeLists.txt
#include "error.h"
#include "msda.h"

namespace msda {
namespace {
thread_local std::string last_error;
}

int report(msda_status status, const char* text) noexcept {
    try {
        last_error = text;
    } catch (const std::exception&) {
        last_error.clear();
    }
    return status;
}

}  // namespace msda

int msda_abi(void) { return MSDA_ABI; }
const char* msda_build_info(void) { return MSDA_BUILD_INFO; }
const char* msda_error(void) { return msda::last_error.c_str(); }
