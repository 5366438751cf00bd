/* Stands in for NVIDIA's libnvidia-ml.so.1, the far side of tasks/gpus.py, on machines without a driver.
 *
 * NVML_GPUS="L40S:46068:46000:25,T4:15360:100:-": model, total and free MiB, percent busy ("-": not supported).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, NO_SUCH = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

typedef struct { char model[64], busy[8]; unsigned long long total, free; } Gpu;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilization;

static Gpu gpus[16];
static int count;

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    char said[1024], *rest = NULL;
    const char *from = getenv("NVML_GPUS");
    snprintf(said, sizeof said, "%s", from ? from : "");
    count = 0;
    for (char *one = strtok_r(said, ",", &rest); one && count < 16; one = strtok_r(NULL, ",", &rest)) {
        Gpu *gpu = &gpus[count++];
        sscanf(one, "%63[^:]:%llu:%llu:%7s", gpu->model, &gpu->total, &gpu->free, gpu->busy);
    }
    return OK;
}

int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int error) { return error == NOT_FOUND ? "Not Found" : "Invalid Argument"; }

int nvmlDeviceGetCount_v2(unsigned int *found) { *found = count; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int at, Gpu **gpu) {
    if (at >= (unsigned int)count) return NO_SUCH;
    *gpu = &gpus[at];
    return OK;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **gpu) {
    int at;
    if (sscanf(uuid, "GPU-%d", &at) != 1 || at >= count) return NOT_FOUND;
    *gpu = &gpus[at];
    return OK;
}

int nvmlDeviceGetUUID(Gpu *gpu, char *into, unsigned int size) {
    snprintf(into, size, "GPU-%d", (int)(gpu - gpus));
    return OK;
}

int nvmlDeviceGetName(Gpu *gpu, char *into, unsigned int size) {
    snprintf(into, size, "%s", gpu->model);
    return OK;
}

int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *memory) {
    if (!gpu->total) return NOT_SUPPORTED;
    memory->total = gpu->total << 20;
    memory->free = gpu->free << 20;
    memory->used = memory->total - memory->free;
    return OK;
}

int nvmlDeviceGetUtilizationRates(Gpu *gpu, Utilization *rates) {
    if (gpu->busy[0] == '-') return NOT_SUPPORTED;
    rates->gpu = atoi(gpu->busy);
    rates->memory = 0;
    return OK;
}
