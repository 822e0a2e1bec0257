/* SPDX-License-Identifier: Apache-2.0
 *
 * keyzones: XLimitZone, the keys that limits can have besides all, session and
 * client. A limit may name one that comes later in the file: names are resolved
 * when all is read. Where the counters of a zone are kept is keys.c's affair.
 * The list is written at configuration time and read-only after it; no lock.
 */
#include "xl_commands.h"

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);

#define ENTRIES_MOST UINT64_C(100000000)

static apr_array_header_t *zones; /* of xl_keyzone_t * */

void xl_keyzones_reset(apr_pool_t *pconf)
{
    zones = apr_array_make(pconf, 8, sizeof(xl_keyzone_t *));
}

const apr_array_header_t *xl_config_keyzones(void)
{
    return zones;
}

static xl_keyzone_t *find(const char *name)
{
    int i;

    for (i = 0; i < zones->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(zones, i, xl_keyzone_t *)->name, name))
            return APR_ARRAY_IDX(zones, i, xl_keyzone_t *);
    return NULL;
}

static const char *read_option(const cmd_parms *cmd, xl_keyzone_t *zone, const char *word)
{
    ap_expr_info_t *expr = NULL;
    const char *error;
    uint64_t entries;

    if (!ap_cstr_casecmpn(word, "key=", 4)) {
        zone->key_text = word + 4;
        error = xl_command_expr(cmd, zone->key_text, AP_EXPR_FLAG_STRING_RESULT, &expr);
        zone->key = expr;
        return error;
    }
    if (ap_cstr_casecmpn(word, "entries=", 8))
        return xl_command_error(cmd, "unknown option \"%s\"; known here: key= entries=", word);
    if (xl_units_number(word + 8, ENTRIES_MOST, &entries))
        return xl_command_error(cmd, "entries=\"%s\" is wrong: right would be 1 to %" APR_UINT64_T_FMT, word + 8,
                                (apr_uint64_t)ENTRIES_MOST);
    zone->entries = (uint32_t)entries;
    return NULL;
}

static const char *name_fault(const cmd_parms *cmd, const char *name)
{
    static const char *const keys[] = { "all", "session", "client" };
    const xl_keyzone_t *other = find(name);
    size_t i;

    for (i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        if (!ap_cstr_casecmp(name, keys[i]))
            return "it is a key already";
    if (other)
        return apr_psprintf(cmd->pool, "it is declared on line %d of %s already", other->line, other->file);
    return xl_command_name_fault(name);
}

const char *xl_set_zone(cmd_parms *cmd, void *dir, const char *args)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY), *word, *fault;
    xl_keyzone_t *zone = apr_pcalloc(cmd->pool, sizeof(*zone));

    (void)dir;
    if (error || (error = xl_command_word(cmd, &args, &word)))
        return error;
    if (!word)
        return xl_command_error(cmd, "the name is missing; right would be: XLimitZone %s", cmd->cmd->errmsg);
    fault = name_fault(cmd, word);
    if (fault)
        return xl_command_error(cmd, "\"%s\" is no name of a zone: %s", word, fault);
    *zone = (xl_keyzone_t){ .name = word, .file = cmd->directive->filename, .line = cmd->directive->line_num,
                            .entries = XL_KEYZONE_ENTRIES, .index = (uint32_t)zones->nelts };
    while (!(error = xl_command_word(cmd, &args, &word)) && word)
        if ((error = read_option(cmd, zone, word)))
            break;
    if (error)
        return error;
    if (!zone->key)
        return xl_command_error(cmd, "key= is missing: which expression tells one key from another, "
                                     "key=\"%%{req_novary:X-Api-Key}\"");
    APR_ARRAY_PUSH(zones, xl_keyzone_t *) = zone;
    return NULL;
}

const char *xl_keyzones_use(const cmd_parms *cmd, xl_limit_t *limit)
{
    limit->keyzone = find(limit->zone);
    return limit->keyzone ? NULL : xl_command_error(cmd, "\"%s\" is not a key: there is no XLimitZone of that name",
                                                    limit->zone);
}

int xl_keyzones_resolve(void)
{
    const apr_array_header_t *registry = xl_config_registry();
    int i, result = OK;

    for (i = 0; i < registry->nelts; i++) {
        xl_limit_t *limit = APR_ARRAY_IDX(registry, i, xl_registered_t).limit;
        xl_keyzone_t *zone = limit->key == XL_KEY_ZONE ? find(limit->zone) : NULL;

        if (zone)
            zone->limits++;
        limit->keyzone = zone;
        if (limit->key != XL_KEY_ZONE || zone)
            continue;
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL,
                     "xlimit(104): Syntax error on line %d of %s: \"%s\" is not a key; right would be client, all or the "
                     "name of an XLimitZone", limit->line, limit->file, limit->zone);
        result = HTTP_INTERNAL_SERVER_ERROR;
    }
    return result;
}
