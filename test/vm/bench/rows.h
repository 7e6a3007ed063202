/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef ROWS_H
#define ROWS_H

#include <stdbool.h>
#include <stddef.h>

#define ROUNDS 9

/* A figure: the median of its rounds */
struct row {
	const char *name, *unit;
	/* the name of a row above that it is held against, or NULL */
	const char *peer;
	double (*measure)(void);
	double rounds[ROUNDS];
	double median;
	/* between the least of the rounds and the greatest, in medians */
	double spread;
	double ratio;
};

/*
 * Prints a table of the @count rows, whose rounds have been measured, and writes the same
 * as JSON to @path. Return: false where that cannot be written, with errno set.
 */
bool rows_report(struct row *rows, size_t count, const char *path);

#endif
