/* SPDX-License-Identifier: Apache-2.0
 *
 * dump: the resolved configuration as text, for `apachectl -t -D DUMP_XLIMIT`. What is printed can be read again:
 * directives stand alone on their lines, everything else is a comment. Reads
 * the finished configuration, changes nothing.
 */
#include "xl_classes.h"
#include "xl_config.h"
#include "xl_networks.h"
#include "xl_snapshot.h"
#include "xl_text.h"

#include "apr_file_io.h"
#include "apr_strings.h"

/* ---- all of it ---- */

typedef struct {
    apr_file_t *out;
    apr_pool_t *pool;
    server_rec *main_server;
} dump_t;

static void dump_engine(const dump_t *dump, const xl_engine_conf_t *engine)
{
    static const char *const engines[] = {"auto", "async", "blocking"};
    apr_file_t *out = dump->out;

    if (engine->state_file)
        apr_file_printf(out, "XLimitStateFile %s\n", xl_text_quoted(dump->pool, engine->state_file));
    else
        apr_file_printf(out, "# XLimitStateFile: xlimit.state under the state directory\n");
    apr_file_printf(out, "XLimitStateError %s\nXLimitFlush %s\n", engine->state_error_fail ? "fail" : "fresh",
                    xl_text_time(dump->pool, engine->flush_ms));
    if (engine->memory_bytes)
        apr_file_printf(out, "XLimitMemory %s\n", xl_text_size(dump->pool, engine->memory_bytes));
    else
        apr_file_printf(out, "# XLimitMemory: sized from the scopes\n");
    apr_file_printf(out, "XLimitEngine %s\n", engines[engine->engine]);
    if (engine->waiting)
        apr_file_printf(out, "XLimitWaiting %u\n", engine->waiting);
    else
        apr_file_printf(out, "# XLimitWaiting: ThreadsPerChild\n");
    apr_file_printf(out, "XLimitBuffer %s\n", xl_text_size(dump->pool, engine->buffer_bytes));
    if (!engine->spool_bytes)
        apr_file_printf(out, "XLimitSpool off\n");
    else
        apr_file_printf(out, "XLimitSpool %s%s%s\n", xl_text_size(dump->pool, engine->spool_bytes),
                        engine->spool_dir ? " " : "", engine->spool_dir ? xl_text_quoted(dump->pool, engine->spool_dir) : "");
}

static void dump_limit(const dump_t *dump, const xl_dir_conf_t *conf, const xl_limit_t *limit, bool inherited)
{
    apr_file_printf(dump->out, "    # %s:%d%s\n    %s\n", limit->file, limit->line,
                    inherited ? ", inherited from the main server" : "", xl_text_limit(dump->pool, conf, limit));
}

static void dump_exempt(const dump_t *dump, const xl_exempt_t *exempt)
{
    const char *kind = exempt->clients.id ? "class=" : exempt->handler ? "handler=" : "when=";
    const char *text = exempt->clients.id ? exempt->clients.text : xl_text_quoted(dump->pool, exempt->handler ? exempt->handler
                                                                                    : exempt->when_text);

    apr_file_printf(dump->out, "    # %s:%d\n    XLimitExempt %s%s\n", exempt->file, exempt->line, kind, text);
}

static void dump_action(const dump_t *dump, const char *what, const xl_action_t *action)
{
    if (action->kind != XL_ACT_DEFAULT)
        apr_file_printf(dump->out, "    XLimitExceeded %s %s\n", what, xl_text_action(dump->pool, action));
}

/* What a scope says besides its limits. */
static void dump_rest(const dump_t *dump, const xl_dir_conf_t *conf)
{
    static const char *const headers[] = {"", "Off", "Draft10", "Legacy"};
    int i;

    for (i = 0; conf->exempts && i < conf->exempts->nelts; i++) {
        const xl_exempt_t *exempt = &APR_ARRAY_IDX(conf->exempts, i, xl_exempt_t);

        if (!exempt->account)
            dump_exempt(dump, exempt);
    }
    for (i = 0; i < XL_DIMS; i++)
        dump_action(dump, xl_snapshot_dimension((xl_dimension_e)i), &conf->exceeded[i]);
    dump_action(dump, "any", &conf->exceeded_any);
    if (conf->headers != XL_HEADERS_UNSET)
        apr_file_printf(dump->out, "    XLimitHeaders %s\n", headers[conf->headers]);
    if (conf->backend_rate >= 0)
        apr_file_printf(dump->out, "    XLimitBackendRate %s\n", conf->backend_rate ? "On" : "Off");
    if (conf->inherit >= 0)
        apr_file_printf(dump->out, "    XLimitInherit %s\n", conf->inherit ? "On" : "Off");
}

static bool stands_in_main(const dump_t *dump, const xl_limit_t *limit)
{
    const apr_array_header_t *all = xl_config_registry();
    int i;

    for (i = 0; i < all->nelts; i++)
        if (APR_ARRAY_IDX(all, i, xl_registered_t).limit == limit)
            return APR_ARRAY_IDX(all, i, xl_registered_t).server == dump->main_server;
    return false;
}

/* Of the main server the virtual hosts have, too. */
static void dump_sections(const dump_t *dump, server_rec *s)
{
    const apr_array_header_t *all = xl_config_sections();
    int i, j;

    for (i = 0; i < all->nelts; i++) {
        const xl_section_t *section = &APR_ARRAY_IDX(all, i, xl_section_t);
        const apr_array_header_t *limits = section->conf->limits;
        xl_dir_conf_t *merged;

        if (section->server != s && section->server != dump->main_server)
            continue;
        merged = xl_config_merge_dir(dump->pool, xl_config_dir(s->lookup_defaults), section->conf);
        apr_file_printf(dump->out, "  # <%s>\n", section->place);
        dump_rest(dump, section->conf);
        for (j = 0; limits && j < limits->nelts; j++)
            dump_limit(dump, merged, APR_ARRAY_IDX(limits, j, const xl_limit_t *), section->server != s);
    }
}

/* What the section of its account gives a server: a comment, since reading
 * XLimitAccount again gives it, too. */
static void dump_shared(const dump_t *dump, const xl_dir_conf_t *conf, const xl_limit_t *limit)
{
    apr_file_printf(dump->out, "    # %s:%d, of the account %s\n    # %s\n", limit->file, limit->line,
                    limit->account, xl_text_limit(dump->pool, conf, limit));
}

/* What a server says that no section can. */
static void dump_host(const dump_t *dump, const xl_server_conf_t *conf)
{
    if (conf->account)
        apr_file_printf(dump->out, "    # %s:%d\n    XLimitAccount %s\n", conf->account_file, conf->account_line,
                        conf->account);
    if (conf->prefix_v4)
        apr_file_printf(dump->out, "    XLimitClientPrefix %d %d\n", conf->prefix_v4, conf->prefix_v6);
}

static void dump_server(const dump_t *dump, server_rec *s)
{
    const xl_dir_conf_t *conf = xl_config_dir(s->lookup_defaults);
    int i;

    if (s->is_virtual)
        apr_file_printf(dump->out, "\n# %s: virtual host of %s:%u\n", xl_config_server(s)->identity, s->defn_name,
                        s->defn_line_number);
    else
        apr_file_printf(dump->out, "\n# %s: main server\n", xl_config_server(s)->identity);
    dump_host(dump, xl_config_server(s));
    dump_rest(dump, conf);
    for (i = 0; conf->limits && i < conf->limits->nelts; i++) {
        const xl_limit_t *limit = APR_ARRAY_IDX(conf->limits, i, xl_limit_t *);

        if (limit->account)
            dump_shared(dump, conf, limit);
        else
            dump_limit(dump, conf, limit, s->is_virtual && stands_in_main(dump, limit));
    }
    dump_sections(dump, s);
}

/* As written, but for XLimitExceeded: its limits have that as exceeded=. */
static void dump_account(const dump_t *dump, const xl_account_t *account)
{
    const xl_dir_conf_t *conf = account->conf;
    int i;

    apr_file_printf(dump->out, "\n# %s:%d\n<XLimitAccount %s>\n", account->file, account->line, account->name);
    for (i = 0; conf->exempts && i < conf->exempts->nelts; i++)
        dump_exempt(dump, &APR_ARRAY_IDX(conf->exempts, i, xl_exempt_t));
    for (i = 0; conf->limits && i < conf->limits->nelts; i++)
        dump_limit(dump, NULL, APR_ARRAY_IDX(conf->limits, i, xl_limit_t *), false);
    apr_file_printf(dump->out, "</XLimitAccount>\n");
}

static void dump_zones(const dump_t *dump)
{
    const apr_array_header_t *all = xl_config_keyzones();
    int i;

    for (i = 0; i < all->nelts; i++) {
        const xl_keyzone_t *zone = APR_ARRAY_IDX(all, i, const xl_keyzone_t *);

        apr_file_printf(dump->out, "\n# %s:%d\nXLimitZone %s key=%s entries=%u\n", zone->file, zone->line, zone->name,
                        xl_text_quoted(dump->pool, zone->key_text), zone->entries);
    }
}

static void dump_accounts(const dump_t *dump)
{
    const apr_array_header_t *all = xl_config_accounts();
    int i;

    for (i = 0; i < all->nelts; i++)
        dump_account(dump, &APR_ARRAY_IDX(all, i, xl_account_t));
}

static void dump_class(const dump_t *dump, uint32_t id)
{
    const apr_array_header_t *all = xl_networks_written();
    const xl_class_t *class = &APR_ARRAY_IDX(xl_config_classes(), (int)id - 1, xl_class_t);
    char buf[XL_PREFIX_TEXT];
    const char *path;
    size_t j;
    int i;

    apr_file_printf(dump->out, "\n# %s:%d\n<XLimitClass %s>\n", class->file, class->line, class->name);
    for (i = 0; i < all->nelts; i++) {
        const xl_prefix_entry_t *entry = &APR_ARRAY_IDX(all, i, xl_prefix_entry_t);

        if (entry->value == id)
            apr_file_printf(dump->out, "    XLimitNetwork %s\n", xl_prefix_print(buf, &entry->prefix));
    }
    for (j = 0; (path = xl_networks_file(id, j)) != NULL; j++)
        apr_file_printf(dump->out, "    XLimitNetworkFile %s\n", xl_text_quoted(dump->pool, path));
    apr_file_printf(dump->out, "</XLimitClass>\n");
}

static void dump_classes(const dump_t *dump)
{
    int i;

    for (i = 0; i < xl_config_classes()->nelts; i++)
        dump_class(dump, (uint32_t)i + 1);
}

/* In the order of the file: httpd lists virtual hosts last first. */
static void dump_hosts(const dump_t *dump, server_rec *last)
{
    if (!last)
        return;
    dump_hosts(dump, last->next);
    dump_server(dump, last);
}

void xl_config_dump(apr_pool_t *pconf, server_rec *main_server)
{
    dump_t dump = {.pool = pconf, .main_server = main_server};

    if (apr_file_open_stdout(&dump.out, pconf) != APR_SUCCESS)
        return;
    apr_file_printf(dump.out, "# mod_xlimit: the configuration as it was understood\n");
    dump_engine(&dump, xl_config_server(main_server)->engine);
    dump_zones(&dump);
    dump_classes(&dump);
    dump_accounts(&dump);
    dump_server(&dump, main_server);
    dump_hosts(&dump, main_server->next);
}
