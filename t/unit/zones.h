/* SPDX-License-Identifier: Apache-2.0
 *
 * zones: the system's time zone files and moments as text, for the tests of
 * zone, calendar and usage.
 */
#ifndef XL_TEST_ZONES_H
#define XL_TEST_ZONES_H

#include "xl_calendar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ZONE_BYTES_MAX 65536

static inline size_t read_zone_file(const char *name, unsigned char *bytes)
{
    char path[256];
    FILE *file;
    size_t n;

    snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", name);
    file = fopen(path, "rb");
    if (!file)
        return 0;
    n = fread(bytes, 1, ZONE_BYTES_MAX, file);
    fclose(file);
    return n;
}

/* NULL, or why not. */
static inline const char *load_zone(xl_zone_t *zone, const char *name)
{
    static unsigned char bytes[ZONE_BYTES_MAX];
    size_t n = read_zone_file(name, bytes);

    snprintf(zone->name, sizeof(zone->name), "%s", name);
    return n ? xl_zone_parse(zone, bytes, n) : "the file cannot be read";
}

/* A zone that a test cannot do without; the same one for the same name. */
static inline const xl_zone_t *zone_named(const char *name)
{
    static xl_zone_t zones[16];
    static size_t count;
    const char *fault;

    for (size_t i = 0; i < count; i++)
        if (!strcmp(zones[i].name, name))
            return &zones[i];
    if (count == sizeof(zones) / sizeof(*zones) || (fault = load_zone(&zones[count], name))) {
        printf("Bail out! %s: %s\n", name, count < sizeof(zones) / sizeof(*zones) ? fault : "too many zones");
        exit(1);
    }
    return &zones[count++];
}

/* "2024-03-31T01:00Z" or with seconds -> seconds; by the C library, not by us. */
static inline int64_t utc(const char *text)
{
    struct tm tm = {0};

    if (sscanf(text, "%d-%d-%dT%d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) <
        5) {
        printf("Bail out! no moment: %s\n", text);
        exit(1);
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    return timegm(&tm);
}

#endif
