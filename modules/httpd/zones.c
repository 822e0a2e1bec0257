/* SPDX-License-Identifier: Apache-2.0
 *
 * zones: the time zones that the configuration names, each read once from the
 * system's database into the pool of the configuration. The table is written
 * while configuration files are read and by nobody else: a .htaccess file that
 * names a zone which none of them has names it for its request alone. No lock.
 */
#include "xl_commands.h"

#include "apr_env.h"
#include "apr_file_io.h"
#include "apr_hash.h"
#include "apr_strings.h"

#include <unistd.h>

#define ZONES_DIR "/usr/share/zoneinfo/"
#define LOCALTIME "/etc/localtime"
#define TZIF_MAX_BYTES 65536

static apr_hash_t *zones; /* name -> xl_zone_t, of this configuration */
static xl_zone_t *own;    /* the server's */
static const char *own_fault;

/* The whole file, or NULL and why. */
static const char *read_file(apr_pool_t *p, const char *path, unsigned char **bytes, apr_size_t *length)
{
    apr_finfo_t info;
    apr_file_t *file;
    apr_status_t status = apr_stat(&info, path, APR_FINFO_TYPE | APR_FINFO_SIZE, p);

    if (status != APR_SUCCESS || info.filetype != APR_REG || info.size > TZIF_MAX_BYTES)
        return "there is no such zone";
    if (apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, p) != APR_SUCCESS)
        return "the zone's file cannot be opened";
    *length = (apr_size_t)info.size;
    *bytes = apr_palloc(p, *length + 1);
    status = apr_file_read_full(file, *bytes, *length, length);
    apr_file_close(file);
    return status == APR_SUCCESS ? NULL : "the zone's file cannot be read";
}

static const char *load(apr_pool_t *p, const char *name, const char *path, xl_zone_t **zone)
{
    unsigned char *bytes;
    apr_size_t length;
    const char *fault = read_file(p, path, &bytes, &length);

    if (fault)
        return fault;
    *zone = apr_pcalloc(p, sizeof(**zone));
    fault = xl_zone_parse(*zone, bytes, length);
    if (!fault)
        apr_cpystrn((*zone)->name, name, sizeof((*zone)->name));
    return fault;
}

static bool is_zone_name(const char *name)
{
    static const char known[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";

    return *name && *name != '/' && strlen(name) < sizeof(own->name) && !name[strspn(name, known)];
}

/* What localtime(3) would use: TZ, else what /etc/localtime points to. */
static const char *own_name(apr_pool_t *p)
{
    char *tz, target[256];
    const char *name;
    ssize_t length;

    if (apr_env_get(&tz, "TZ", p) == APR_SUCCESS)
        return *tz == ':' ? tz + 1 : *tz ? tz : "UTC";
    length = readlink(LOCALTIME, target, sizeof(target) - 1);
    target[length > 0 ? length : 0] = '\0';
    name = strstr(target, "/zoneinfo/");
    return name ? apr_pstrdup(p, name + strlen("/zoneinfo/")) : "";
}

void xl_zones_reset(apr_pool_t *pconf)
{
    const char *name = own_name(pconf), *fault;

    zones = apr_hash_make(pconf);
    if (is_zone_name(name))
        fault = load(pconf, name, apr_pstrcat(pconf, ZONES_DIR, name, NULL), &own);
    else if (!*name)
        fault = load(pconf, "", LOCALTIME, &own);
    else
        fault = "it is not a name from " ZONES_DIR;
    own_fault = fault ? apr_psprintf(pconf, "the server's own time zone \"%s\" cannot be used: %s", name, fault) : NULL;
    if (fault) {
        own = apr_pcalloc(pconf, sizeof(*own));
        xl_zone_utc(own);
        apr_cpystrn(own->name, "UTC", sizeof(own->name));
    }
}

const xl_zone_t *xl_zones_default(const char **fault)
{
    *fault = own_fault;
    return own;
}

const char *xl_zones_find(const cmd_parms *cmd, const char *name, const xl_zone_t **zone)
{
    const char *fault = "right would be Europe/Berlin";
    xl_zone_t *found = apr_hash_get(zones, name, APR_HASH_KEY_STRING);

    if (!found && is_zone_name(name))
        fault = load(cmd->pool, name, apr_pstrcat(cmd->temp_pool, ZONES_DIR, name, NULL), &found);
    else if (found)
        fault = NULL;
    if (fault)
        return xl_command_error(cmd, "tz=\"%s\" is not a time zone: %s", name, fault);
    if (!xl_command_runtime(cmd))
        apr_hash_set(zones, found->name, APR_HASH_KEY_STRING, found);
    *zone = found;
    return NULL;
}
