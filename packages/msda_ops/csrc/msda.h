/* C interface of the multi-scale deformable attention kernels.
 *
 *     out[b,q,m,:] = sum over levels l and points p of
 *                    weights[b,q,m,l,p] * bilinear(value_l[b,:,:,m,:], x = loc_x * W_l - 0.5, y = loc_y * H_l - 0.5)
 *
 * with pixel centres at whole numbers. A point counts when -1 < x < W_l and -1 < y < H_l (never when it is not
 * finite); corners outside the map are zero.
 *
 * All tensors are dense and row-major:
 *     value, grad_value          [batch][tokens][heads][channels]    tokens = sum of H_l * W_l, level after level
 *     locations, grad_locations  [batch][queries][heads][levels][points][2]    (x, y) in units of the level's size
 *     weights, grad_weights      [batch][queries][heads][levels][points]
 *     output, grad_output        [batch][queries][heads][channels]
 *
 * Every output is written in full. Functions are safe to call from several threads; they return 0 or an error code
 * whose explanation msda_error() gives. Nothing here depends on torch or Python.
 */
#ifndef MSDA_H
#define MSDA_H

#include <stdint.h>

#if defined(_WIN32)
#define MSDA_API __declspec(dllexport)
#else
#define MSDA_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever a declaration below changes its meaning. */
#define MSDA_ABI 1

/* Levels a problem may have, and the longest side of a level (whole numbers up to here are exact in float32). */
#define MSDA_MAX_LEVELS 64
#define MSDA_MAX_SIDE (INT64_C(1) << 24)

typedef enum msda_dtype { MSDA_FLOAT32 = 0, MSDA_FLOAT64 = 1, MSDA_FLOAT16 = 2, MSDA_BFLOAT16 = 3 } msda_dtype;

typedef enum msda_status {
    MSDA_OK = 0,
    MSDA_BAD_ARGUMENT = 1,
    MSDA_OUT_OF_MEMORY = 2,
    MSDA_NO_CUDA = 3,    /* built without CUDA, no driver, a driver that is too old, or no code for this GPU */
    MSDA_CUDA_FAILED = 4 /* the CUDA runtime reported an error */
} msda_status;

typedef struct msda_problem {
    int64_t batch;
    int64_t queries;
    int64_t heads;
    int64_t channels; /* per head */
    int64_t levels;
    int64_t points;                /* per level */
    const int64_t* spatial_shapes; /* host memory, [levels][2]: (H, W) */
} msda_problem;

MSDA_API int msda_abi(void);

/* What the library holds, "key=value" separated by ';', e.g. "cuda=13.0;archs=75,80,86". */
MSDA_API const char* msda_build_info(void);

/* The instruction set that the CPU kernels use: the best of "baseline", "avx2" and "avx512" that the machine has, or
 * less where the environment variable MSDA_CPU_INSTRUCTIONS named less at the first call. */
MSDA_API const char* msda_cpu_instructions(void);

/* Why the last call on this thread failed. Valid until the next failing call on this thread. */
MSDA_API const char* msda_error(void);

/* CPU, float32 and float64; every tensor has the given dtype. The result does not depend on `threads`. */
MSDA_API int msda_cpu_forward(const msda_problem* problem, int dtype, const void* value, const void* locations,
                              const void* weights, void* output, int threads);
MSDA_API int msda_cpu_backward(const msda_problem* problem, int dtype, const void* grad_output, const void* value,
                               const void* locations, const void* weights, void* grad_value, void* grad_locations,
                               void* grad_weights, int threads);

/* CUDA, all four dtypes. `dtype` is that of value, output and grad_output. locations, weights and all three gradients
 * are float64 when dtype is float64 and float32 otherwise. Pointers are device memory of `device`; `stream` is a
 * cudaStream_t. The calls return when the work is queued, and leave `device` current on the calling thread. One image's
 * value may hold 2^31 - 1 numbers. The order in which grad_value is summed varies from run to run. */
MSDA_API int msda_cuda_check(int device);
MSDA_API int msda_cuda_forward(const msda_problem* problem, int dtype, const void* value, const void* locations,
                               const void* weights, void* output, int device, void* stream);
MSDA_API int msda_cuda_backward(const msda_problem* problem, int dtype, const void* grad_output, const void* value,
                                const void* locations, const void* weights, void* grad_value, void* grad_locations,
                                void* grad_weights, int device, void* stream);

#ifdef __cplusplus
}
#endif
#endif
