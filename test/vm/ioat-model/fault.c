// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "regs.h"

static const struct {
	const char *name;
	bool value_required, value_allowed;
} kinds[] = {
	[FAULT_ERROR] = { "error", true, true },
	[FAULT_HANG] = { "hang", false, false },
	[FAULT_DELAY] = { "delay", true, true },
	[FAULT_LOST_IRQ] = { "lost-irq", false, false },
	[FAULT_LOST_COMPLETION] = { "lost-completion", false, false },
	[FAULT_CORRUPT] = { "corrupt", false, true },
	[FAULT_REMOVE] = { "remove", false, false },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static char problem[160];

static const char *wrong(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem, sizeof(problem), format, args);
	va_end(args);
	return problem;
}

/* strtoull takes signs, blanks and nothing at all; this does not. */
static bool number(const char **at, uint64_t *value)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*value = strtoull(*at, &end, 0);
	*at = end;
	return errno == 0;
}

static const char *parse_value(const char **at, struct fault *fault)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = { { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 } };
	size_t i;

	if (!number(at, &fault->value))
		return wrong("%s= wants a number", kinds[fault->kind].name);
	if (fault->kind == FAULT_ERROR) {
		uint32_t bits = fault->value;

		if (fault->value == 0 || fault->value > UINT32_MAX)
			return wrong("error= wants 1 to 32 bits of CHANERR");
		if ((bits & IOAT_CHANERR_RECOVERABLE) && (bits & (bits - 1)))
			return wrong("error=0x%x would be a BUG() of the driver's own: 0x100 and 0x200 go alone",
				     bits);
	}
	if (fault->kind != FAULT_DELAY)
		return NULL;
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t length = strlen(units[i].unit);

		if (strncmp(*at, units[i].unit, length))
			continue;
		if (fault->value > 3600 * 1000000000ULL / units[i].ns)
			return wrong("delay= goes up to an hour");
		fault->value *= units[i].ns;
		*at += length;
		return NULL;
	}
	return wrong("delay= wants a unit: us, ms or s");
}

static const char *parse_where(const char **at, struct fault *fault)
{
	uint64_t n;

	if (!number(at, &n) || n > 255)
		return wrong("/ wants a device's number");
	fault->device = n;
	if (**at != '.')
		return NULL;
	++*at;
	if (!number(at, &n) || n >= IOAT_MAX_CHANNELS)
		return wrong(". wants a channel's number, 0 to %d", IOAT_MAX_CHANNELS - 1);
	fault->channel = n;
	return NULL;
}

/* KIND[=VALUE][@N][xCOUNT][/DEVICE[.CHANNEL]] */
static const char *parse(const char **at, struct fault *fault)
{
	size_t length = strcspn(*at, "=@x/,"), kind;
	const char *error;

	for (kind = 0; kind < KINDS; kind++)
		if (strlen(kinds[kind].name) == length && !strncmp(kinds[kind].name, *at, length))
			break;
	if (kind == KINDS)
		return wrong("no such fault: %.*s", (int)(length > 40 ? 40 : length), *at);
	*at += length;
	*fault = (struct fault){ .kind = kind, .nth = 1, .count = 1,
				 .device = FAULT_ANY, .channel = FAULT_ANY };
	if (fault->kind == FAULT_REMOVE)
		fault->nth = 0;
	if (**at == '=') {
		++*at;
		if (!kinds[kind].value_allowed)
			return wrong("%s takes no value", kinds[kind].name);
		error = parse_value(at, fault);
		if (error)
			return error;
	} else if (kinds[kind].value_required) {
		return wrong("%s wants a value", kinds[kind].name);
	}
	if (**at == '@') {
		++*at;
		if (!number(at, &fault->nth) || fault->nth == 0)
			return wrong("@ wants a number from 1 on");
	}
	if (**at == 'x' && (*at)[1] == '*') {
		fault->count = FAULT_FOR_EVER;
		*at += 2;
	} else if (**at == 'x') {
		++*at;
		if (!number(at, &fault->count) || fault->count == 0)
			return wrong("x wants a number from 1 on, or *");
	}
	if (**at == '/') {
		++*at;
		error = parse_where(at, fault);
		if (error)
			return error;
	}
	return **at && **at != ',' ? wrong("cannot read '%.40s'", *at) : NULL;
}

const char *faults_add(struct faults *faults, const char *specs)
{
	struct faults added = *faults;
	const char *at = specs, *error;

	for (;;) {
		if (added.count == FAULT_MAX)
			return wrong("at most %d faults at a time", FAULT_MAX);
		error = parse(&at, &added.list[added.count]);
		if (error)
			return error;
		added.count++;
		if (!*at)
			break;
		at++;
	}
	*faults = added;
	return NULL;
}

struct fault_effects faults_strike(struct faults *faults, int device, int channel, uint32_t ctl)
{
	struct fault_effects effects = { 0 };
	struct fault *fault;

	for (fault = faults->list; fault < faults->list + faults->count; fault++) {
		if ((fault->device != FAULT_ANY && fault->device != device) ||
		    (fault->channel != FAULT_ANY && fault->channel != channel))
			continue;
		if (++fault->seen < fault->nth || fault->fired >= fault->count)
			continue;
		/* these two wait for the first that has something to lose */
		if (fault->kind == FAULT_LOST_IRQ && !(ctl & IOAT_DESC_INT))
			continue;
		if (fault->kind == FAULT_LOST_COMPLETION && !(ctl & IOAT_DESC_COMPLETION))
			continue;
		fault->fired++;
		switch (fault->kind) {
		case FAULT_ERROR: effects.error = fault->value; break; /* never two in one */
		case FAULT_HANG: effects.hang = true; break;
		case FAULT_DELAY: effects.delay_ns += fault->value; break;
		case FAULT_LOST_IRQ: effects.lost_irq = true; break;
		case FAULT_LOST_COMPLETION: effects.lost_completion = true; break;
		case FAULT_CORRUPT: effects.corrupt = true; effects.corrupt_at = fault->value; break;
		case FAULT_REMOVE: effects.remove = true; break;
		}
	}
	return effects;
}

bool faults_take_removal(struct faults *faults, int *device)
{
	struct fault *fault;

	for (fault = faults->list; fault < faults->list + faults->count; fault++) {
		if (fault->kind != FAULT_REMOVE || fault->nth != 0 || fault->fired)
			continue;
		fault->fired = 1;
		*device = fault->device;
		return true;
	}
	return false;
}

void faults_describe(const struct faults *faults, char *out, size_t size)
{
	const struct fault *fault;
	size_t used = 0;

	out[0] = '\0';
	for (fault = faults->list; fault < faults->list + faults->count && used < size; fault++)
		used += snprintf(out + used, size - used,
				 "%s=%#llx from copy %llu on device %d channel %d: saw %llu, struck %llu\n",
				 kinds[fault->kind].name, (unsigned long long)fault->value,
				 (unsigned long long)fault->nth, fault->device, fault->channel,
				 (unsigned long long)fault->seen, (unsigned long long)fault->fired);
}
