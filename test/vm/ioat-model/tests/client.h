/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's part in the tests: one connection to the model, and a guest's memory. */
#ifndef IOAT_TEST_CLIENT_H
#define IOAT_TEST_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "regs.h"
#include "vfio_user_wire.h"

#define CHECK(condition)                                                             \
	do {                                                                         \
		if (!(condition)) {                                                  \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			exit(1);                                                     \
		}                                                                    \
	} while (0)

#define GUEST_SIZE (4u << 20)

extern int client_fd;
extern uint8_t *guest; /* GUEST_SIZE bytes at iova 0, once client_start() has run */
extern int guest_fd;

/* Connecting waits for the model to be there. */
void client_connect(void);
void client_close(void);
/* Connects, maps the guest's memory, sets up a vector a channel, lets it master the bus. */
void client_start(void);

void send_message(uint16_t command, uint32_t flags, const void *body, size_t size,
		  const int *fds, size_t fd_count);
/* Sends and waits; returns the errno of the answer, and its body in *reply. */
int call(uint16_t command, const void *body, size_t size, const int *fds, size_t fd_count);
extern uint8_t reply[65536];
extern size_t reply_size;

int map_dma(uint64_t iova, uint64_t size, uint32_t rights, int fd, uint64_t offset);
int unmap_dma(uint64_t iova, uint64_t size);
uint64_t region_read(uint32_t region, uint64_t offset, uint32_t count);
int region_write(uint32_t region, uint64_t offset, uint64_t value, uint32_t count);

#define CONFIG 7
#define BAR 0

uint64_t reg(int channel, uint32_t offset, uint32_t count);
void set_reg(int channel, uint32_t offset, uint64_t value, uint32_t count);

/* The control socket: the whole answer, up to its "ok" or "error:". */
const char *control(const char *line);

bool wait_irq(int vector, int ms);
bool wait_status(int channel, unsigned int status, int ms);

/*
 * A ring of 64 descriptors for each channel; start() puts it to use, copy() adds one
 * and rings the bell.
 */
#define RING_AT(channel) (0x10000u + (channel) * 0x2000u)
#define CMP_AT(channel) (0x1000u + (channel) * 64u)
#define SRC 0x100000u
#define DST 0x200000u
void start(int channel);
void copy(int channel, uint64_t src, uint64_t dst, uint32_t size, uint32_t ctl);
uint64_t completion(int channel);
extern uint16_t bell[4];

void test_protocol(void);
void test_malformed(void);
void test_channels(void);
void test_msi(void);
void test_faults(void);

#endif
