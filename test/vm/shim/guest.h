/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the DMA engine in the lab share: its devices and jobs. */
#ifndef GUEST_H
#define GUEST_H

#include "../../../native-shim/include/dma_shim.h"
#include "../../native/harness.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)

#define MODULE "/dev/ioat-dma"

struct dax {
	uint32_t handle;
	uint64_t size;
	unsigned char *bytes;   /* a mapping of the test's own */
};

struct lab {
	struct dma_shim *shim;
	int socket;
	struct dma_shim_dma_info info;
	struct dax a;
	struct dax b;
};

struct lab lab_open(void);
void lab_close(struct lab *lab);
struct dax dax_open(struct dma_shim *shim, unsigned int number);

int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fault(const char *spec);
void await_channels(struct lab *lab, uint32_t count);
void await_work(struct lab *lab);
struct dma_shim_channel_info channel_of(struct lab *lab, uint32_t channel);

struct dma_shim_job dma_job(uint64_t tag, const struct dax *source,
			    const struct dax *destination);
int submit(struct lab *lab, struct dma_shim_job job,
	   const struct dma_shim_segment *segments, uint32_t count);
int submit_one(struct lab *lab, struct dma_shim_job job, uint64_t from, uint64_t to,
	       uint64_t size);
struct dma_shim_completion next_done(struct lab *lab);

/* Bytes that tell by their value where they belong */
void pattern(unsigned char *at, uint64_t size, uint32_t seed);
bool is_pattern(const unsigned char *at, uint64_t size, uint32_t seed);
bool is_byte(const unsigned char *at, uint64_t size, unsigned char byte);

#endif /* GUEST_H */
