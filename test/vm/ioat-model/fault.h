/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults on demand. README.md has the grammar of a SPEC and what each kind does.
 */
#ifndef IOAT_MODEL_FAULT_H
#define IOAT_MODEL_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_kind {
	FAULT_ERROR,
	FAULT_HANG,
	FAULT_DELAY,
	FAULT_LOST_IRQ,
	FAULT_LOST_COMPLETION,
	FAULT_CORRUPT,
	FAULT_REMOVE,
};

#define FAULT_ANY (-1)
#define FAULT_FOR_EVER UINT64_MAX
#define FAULT_MAX 32

struct fault {
	enum fault_kind kind;
	uint64_t value; /* error: CHANERR bits; delay: ns; corrupt: byte in the copy */
	uint64_t nth; /* the first copy it strikes, from 1 on; 0: at once (remove only) */
	uint64_t count; /* how many it strikes, or FAULT_FOR_EVER */
	int device, channel; /* or FAULT_ANY */
	uint64_t seen; /* copies since it was set */
	uint64_t fired;
};

struct faults {
	struct fault list[FAULT_MAX];
	size_t count;
};

/* What the faults do to one descriptor. */
struct fault_effects {
	uint32_t error;
	uint64_t delay_ns;
	uint64_t corrupt_at;
	bool hang, lost_irq, lost_completion, corrupt, remove;
};

/*
 * faults_add - takes all of @specs ("SPEC,SPEC...") or none of it. Returns NULL, or what
 * is wrong with it, good until the next call.
 */
const char *faults_add(struct faults *faults, const char *specs);

/* A copy descriptor begins: counts it, and says what becomes of it. */
struct fault_effects faults_strike(struct faults *faults, int device, int channel, uint32_t ctl);

/* Takes out a remove that is due at once; false if there is none. */
bool faults_take_removal(struct faults *faults, int *device);

/* One line a fault, into @out. */
void faults_describe(const struct faults *faults, char *out, size_t size);

#endif
