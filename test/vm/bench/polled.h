/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef POLLED_H
#define POLLED_H

#include <stddef.h>

/* A channel that this process drives by itself, between the two device-dax devices. */
void polled_open(const char *slot);

/*
 * Copies @size bytes @operations times, at most @depth at once: 32 pieces that lie one
 * behind the other, by turns, to where they are on the other device.
 */
void polled_copies(int depth, int operations, size_t size);

#endif
