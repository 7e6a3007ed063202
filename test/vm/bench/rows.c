// SPDX-License-Identifier: GPL-2.0-only
/* What the bench has to show. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "rows.h"

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static const struct row *find(const struct row *rows, size_t count, const char *name)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	abort();
}

static void summarize(struct row *rows, size_t count)
{
	struct row *row;

	for (row = rows; row < rows + count; row++) {
		qsort(row->rounds, ROUNDS, sizeof(double), ascending);
		row->median = row->rounds[ROUNDS / 2];
		row->spread = (row->rounds[ROUNDS - 1] - row->rounds[0]) / row->median;
		if (row->peer)
			row->ratio = row->median / find(rows, count, row->peer)->median;
	}
}

static void print_table(const struct row *rows, size_t count)
{
	const struct row *row;

	printf("%-26s %10s %5s %8s  %s\n", "", "median", "", "spread", "against");
	for (row = rows; row < rows + count; row++) {
		printf("%-26s %10.1f %5s %6.0f %%", row->name, row->median, row->unit, row->spread * 100);
		if (row->peer)
			printf("  %.2f x %s", row->ratio, row->peer);
		printf("\n");
	}
}

static bool print_json(const struct row *rows, size_t count, const char *path)
{
	const struct row *row;
	struct utsname name;
	FILE *file = fopen(path, "w");

	if (!file || uname(&name))
		return false;
	fprintf(file, "{\"machine\": \"emulated, Linux %s\", \"rows\": [", name.release);
	for (row = rows; row < rows + count; row++) {
		fprintf(file, "%s\n  {\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\", \"spread\": %.3f",
			row == rows ? "" : ",", row->name, row->median, row->unit, row->spread);
		if (row->peer)
			fprintf(file, ", \"peer\": \"%s\", \"ratio\": %.3f", row->peer, row->ratio);
		fprintf(file, "}");
	}
	fprintf(file, "\n]}\n");
	return !fclose(file);
}

bool rows_report(struct row *rows, size_t count, const char *path)
{
	summarize(rows, count);
	print_table(rows, count);
	return print_json(rows, count, path);
}
