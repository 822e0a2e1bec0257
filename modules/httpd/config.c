/* SPDX-License-Identifier: Apache-2.0
 *
 * config: creation and merging of the configuration, the lists of all limits
 * and sections that stand in configuration files, and the checks that only the
 * whole can show: who is who among the servers, and whether two limits would
 * share one counter. Merging runs at requests and allocates nothing where the
 * inner scope says nothing. The lists are written while configuration files are
 * read and read-only from then on; no lock.
 */
#include "xl_classes.h"
#include "xl_commands.h"

#include "apr_hash.h"
#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"

APLOG_USE_MODULE(xlimit);

extern module AP_MODULE_DECLARE_DATA xlimit_module;

#define BUFFER_BYTES UINT64_C(64000)
#define SPOOL_BYTES UINT64_C(1000000000)
#define FLUSH_MS 1000
#define UNNAMED "_default_"

static apr_array_header_t *registry; /* of xl_registered_t */
static apr_array_header_t *sections; /* of xl_section_t */

/* ---- per directory ---- */

void *xl_config_create_dir(apr_pool_t *p, char *dir)
{
    xl_dir_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    (void)dir;
    conf->inherit = conf->backend_rate = -1;
    return conf;
}

static bool says_nothing(const xl_dir_conf_t *conf)
{
    int i;

    for (i = 0; i < XL_DIMS; i++)
        if (conf->exceeded[i].kind != XL_ACT_DEFAULT)
            return false;
    return !conf->limits && !conf->exempts && conf->exceeded_any.kind == XL_ACT_DEFAULT && conf->inherit < 0 &&
           conf->backend_rate < 0 && conf->headers == XL_HEADERS_UNSET;
}

static apr_array_header_t *outer_then_inner(apr_pool_t *p, apr_array_header_t *outer, apr_array_header_t *inner)
{
    return outer && inner ? apr_array_append(p, outer, inner) : outer ? outer : inner;
}

/* The nearest scope wins; within one scope the dimension beats `any`, so that
 * an inner `any` hides what outer scopes said of the dimension. */
static void merge_exceeded(xl_dir_conf_t *conf, const xl_dir_conf_t *base, const xl_dir_conf_t *add)
{
    bool any = add->exceeded_any.kind != XL_ACT_DEFAULT;
    int i;

    conf->exceeded_any = any ? add->exceeded_any : base->exceeded_any;
    for (i = 0; i < XL_DIMS; i++)
        conf->exceeded[i] = any || add->exceeded[i].kind != XL_ACT_DEFAULT ? add->exceeded[i] : base->exceeded[i];
}

/* Associative: httpd merges sections among each other first. */
void *xl_config_merge_dir(apr_pool_t *p, void *basev, void *addv)
{
    const xl_dir_conf_t *base = basev, *add = addv;
    xl_dir_conf_t *conf;

    if (says_nothing(add))
        return basev;
    if (says_nothing(base))
        return addv;
    conf = apr_pmemdup(p, add, sizeof(*add));
    if (add->inherit != 0) {
        conf->limits = outer_then_inner(p, base->limits, add->limits);
        conf->exempts = outer_then_inner(p, base->exempts, add->exempts);
        conf->inherit = base->inherit >= 0 ? base->inherit : add->inherit;
    }
    merge_exceeded(conf, base, add);
    if (add->backend_rate < 0)
        conf->backend_rate = base->backend_rate;
    if (add->headers == XL_HEADERS_UNSET)
        conf->headers = base->headers;
    return conf;
}

xl_dir_conf_t *xl_config_dir(ap_conf_vector_t *per_dir)
{
    return ap_get_module_config(per_dir, &xlimit_module);
}

/* A site that has used up what it has is not served; a client who asks for too
 * much is told so. */
static const xl_action_t *default_action(const xl_limit_t *limit)
{
    static const xl_action_t unavailable = {.kind = XL_ACT_STATUS, .status = HTTP_SERVICE_UNAVAILABLE};
    static const xl_action_t too_many = {.kind = XL_ACT_STATUS, .status = HTTP_TOO_MANY_REQUESTS};
    static const xl_action_t forbidden = {.kind = XL_ACT_STATUS, .status = HTTP_FORBIDDEN};

    if (limit->dimension == XL_DIM_BLOCK)
        return &forbidden;
    return limit->dimension == XL_DIM_QUOTA && limit->key == XL_KEY_ALL ? &unavailable : &too_many;
}

const xl_action_t *xl_config_action(const xl_dir_conf_t *conf, const xl_limit_t *limit)
{
    static const xl_action_t paces = {.kind = XL_ACT_PASS}; /* nobody is ever refused by it */
    static const xl_action_t closes = {.kind = XL_ACT_CLOSE};

    if (xl_dimension_paces(limit->dimension))
        return &paces;
    if (limit->at_accept)
        return limit->exceeded.kind == XL_ACT_DEFAULT ? &closes : &limit->exceeded;
    if (limit->exceeded.kind != XL_ACT_DEFAULT)
        return &limit->exceeded;
    if (conf->exceeded[limit->dimension].kind != XL_ACT_DEFAULT)
        return &conf->exceeded[limit->dimension];
    return conf->exceeded_any.kind != XL_ACT_DEFAULT ? &conf->exceeded_any : default_action(limit);
}

/* ---- per server ---- */

void *xl_config_create_server(apr_pool_t *p, server_rec *s)
{
    xl_server_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    conf->server = s;
    conf->entry = UINT32_MAX;
    if (!s->is_virtual) {
        conf->engine = apr_pcalloc(p, sizeof(*conf->engine));
        conf->engine->buffer_bytes = BUFFER_BYTES;
        conf->engine->spool_bytes = SPOOL_BYTES;
        conf->engine->flush_ms = FLUSH_MS;
    }
    return conf;
}

void *xl_config_merge_server(apr_pool_t *p, void *basev, void *addv)
{
    const xl_server_conf_t *base = basev, *add = addv;
    xl_server_conf_t *conf = apr_pmemdup(p, add, sizeof(*add));

    conf->engine = base->engine;
    if (!add->account) {
        conf->account = base->account;
        conf->account_file = base->account_file;
        conf->account_line = base->account_line;
    }
    if (!add->prefix_v4) {
        conf->prefix_v4 = base->prefix_v4;
        conf->prefix_v6 = base->prefix_v6;
    }
    return conf;
}

xl_server_conf_t *xl_config_server(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &xlimit_module);
}

int xl_config_prefix(const server_rec *s, bool v6)
{
    const xl_server_conf_t *conf = xl_config_server(s);

    if (!conf->prefix_v4)
        return v6 ? XL_PREFIX_V6 : XL_PREFIX_V4;
    return v6 ? conf->prefix_v6 : conf->prefix_v4;
}

/* ---- all limits ---- */

void xl_config_reset(apr_pool_t *pconf)
{
    registry = apr_array_make(pconf, 16, sizeof(xl_registered_t));
    sections = apr_array_make(pconf, 16, sizeof(xl_section_t));
    xl_accounts_reset(pconf);
    xl_keyzones_reset(pconf);
    xl_actions_reset();
    xl_classes_reset(pconf);
    xl_zones_reset(pconf);
}

void xl_config_register(const cmd_parms *cmd, xl_dir_conf_t *scope, xl_limit_t *limit)
{
    xl_registered_t *entry = apr_array_push(registry);

    entry->limit = limit;
    entry->server = cmd->server;
    entry->scope = scope;
}

const apr_array_header_t *xl_config_registry(void)
{
    return registry;
}

void xl_config_note_section(const cmd_parms *cmd, xl_dir_conf_t *conf)
{
    int i;

    if (!cmd->path || xl_command_account(cmd))
        return;
    for (i = sections->nelts; i; i--)
        if (APR_ARRAY_IDX(sections, i - 1, xl_section_t).conf == conf)
            return;
    APR_ARRAY_PUSH(sections, xl_section_t) = (xl_section_t){xl_command_place(cmd), cmd->server, conf};
}

const apr_array_header_t *xl_config_sections(void)
{
    return sections;
}

/* ---- who is who ---- */

/* httpd gives a nameless main server the name of the machine, and that to
 * nameless hosts: a counter had better not depend on it. */
static bool main_server_is_named(void)
{
    const ap_directive_t *directive;

    for (directive = ap_conftree; directive; directive = directive->next)
        if (!ap_cstr_casecmp(directive->directive, "ServerName"))
            return true;
    return false;
}

static const char *plain_identity(apr_pool_t *p, const server_rec *s, const server_rec *main_server, bool main_named)
{
    bool named = main_named || s->server_hostname != main_server->server_hostname;
    char *host = apr_pstrdup(p, named && s->server_hostname ? s->server_hostname : UNNAMED);
    unsigned port = s->port;

    ap_str_tolower(host);
    if (!port && s->is_virtual && s->addrs)
        port = s->addrs->host_port;
    return port ? apr_psprintf(p, "%s:%u", host, port) : host;
}

static const char *with_address(apr_pool_t *p, const char *identity, const server_rec *s)
{
    if (!s->is_virtual || !s->addrs)
        return identity;
    return apr_psprintf(p, "%s@%s:%u", identity, s->addrs->virthost, (unsigned)s->addrs->host_port);
}

/* httpd lets a host without a directive of ours share the main server's. */
static xl_server_conf_t *conf_of_its_own(apr_pool_t *p, server_rec *s)
{
    xl_server_conf_t *conf = xl_config_server(s);

    if (conf->server == s)
        return conf;
    conf = apr_pmemdup(p, conf, sizeof(*conf));
    conf->server = s;
    conf->apart = false;
    ap_set_module_config(s->module_config, &xlimit_module, conf);
    return conf;
}

/* httpd lists virtual hosts last first; here they are numbered as written. */
static apr_array_header_t *servers_as_written(apr_pool_t *ptemp, server_rec *main_server)
{
    apr_array_header_t *list = apr_array_make(ptemp, 16, sizeof(server_rec *));
    server_rec *s, **from, **to;

    for (s = main_server; s; s = s->next)
        APR_ARRAY_PUSH(list, server_rec *) = s;
    from = &APR_ARRAY_IDX(list, 1, server_rec *);
    for (to = &APR_ARRAY_IDX(list, list->nelts - 1, server_rec *); from < to; from++, to--) {
        s = *from;
        *from = *to;
        *to = s;
    }
    return list;
}

/* The text, made unique: "text", "text#2", ... */
static const char *take(apr_pool_t *p, apr_hash_t *taken, const char *text)
{
    const char *unique = text;
    unsigned n;

    for (n = 2; apr_hash_get(taken, unique, APR_HASH_KEY_STRING); n++)
        unique = apr_psprintf(p, "%s#%u", text, n);
    apr_hash_set(taken, unique, APR_HASH_KEY_STRING, unique);
    return unique;
}

/* Servers of the same name and port are told apart by their addresses, all of
 * them, so that their order in the file does not matter; the rest by number. */
static void identify(apr_pool_t *p, apr_pool_t *ptemp, server_rec *main_server)
{
    apr_hash_t *alone = apr_hash_make(ptemp), *taken = apr_hash_make(ptemp);
    apr_array_header_t *list = servers_as_written(ptemp, main_server);
    bool named = main_server_is_named();
    server_rec *s;
    uint32_t index = 0;
    int i;

    for (s = main_server; s; s = s->next) {
        xl_server_conf_t *conf = conf_of_its_own(p, s);

        conf->index = index++;
        conf->identity = plain_identity(p, s, main_server, named);
        apr_hash_set(alone, conf->identity, APR_HASH_KEY_STRING,
                     apr_hash_get(alone, conf->identity, APR_HASH_KEY_STRING) ? "" : conf->identity);
    }
    for (i = 0; i < list->nelts; i++) {
        xl_server_conf_t *conf = xl_config_server(APR_ARRAY_IDX(list, i, server_rec *));
        const char *only = apr_hash_get(alone, conf->identity, APR_HASH_KEY_STRING);

        conf->identity = take(p, taken, *only ? conf->identity : with_address(p, conf->identity, conf->server));
    }
}

/* ---- one counter, one limit ---- */

static const char *where(apr_pool_t *p, const xl_registered_t *entry)
{
    const xl_limit_t *limit = entry->limit;

    return apr_psprintf(p, "line %d of %s (%s%s%s)", limit->line, limit->file,
                        xl_config_server(entry->server)->identity, *limit->place ? ", " : "", limit->place);
}

static int log_namesakes(apr_pool_t *ptemp, const xl_registered_t *first, const xl_registered_t *second)
{
    bool inherited = first->server != second->server;

    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL,
                 "xlimit(101): Syntax error on line %d of %s: a limit called \"%s\" stands there and, %s, on %s: they "
                 "would share one counter; give one of them another name with name=NAME%s",
                 second->limit->line, second->limit->file, second->limit->name,
                 inherited ? "inherited from the main server" : "in the same place", where(ptemp, first),
                 inherited ? ", or write XLimitInherit Off in the inner scope" : "");
    return HTTP_INTERNAL_SERVER_ERROR;
}

static const char *counter_key(apr_pool_t *ptemp, const server_rec *s, const xl_limit_t *limit)
{
    return apr_psprintf(ptemp, "%u\n%s\n%s", xl_config_server(s)->index, limit->place, limit->name);
}

/* Two limits with one name in one place of one server; a virtual host has those
 * of the main server too, unless its own scope drops them. */
static int check_names(apr_pool_t *ptemp, server_rec *main_server)
{
    apr_hash_t *taken = apr_hash_make(ptemp);
    const xl_registered_t *first, *entries = (const xl_registered_t *)(const void *)registry->elts;
    int i, result = OK;

    for (i = 0; i < registry->nelts; i++) {
        const char *key = counter_key(ptemp, entries[i].server, entries[i].limit);

        first = apr_hash_get(taken, key, APR_HASH_KEY_STRING);
        if (first)
            result = log_namesakes(ptemp, first, &entries[i]);
        else
            apr_hash_set(taken, key, APR_HASH_KEY_STRING, &entries[i]);
    }
    for (i = 0; i < registry->nelts; i++) {
        if (entries[i].server == main_server || entries[i].scope->inherit == 0)
            continue;
        first = apr_hash_get(taken, counter_key(ptemp, main_server, entries[i].limit), APR_HASH_KEY_STRING);
        if (first)
            result = log_namesakes(ptemp, first, &entries[i]);
    }
    return result;
}

/* Once per start: httpd reads its configuration twice. */
static void warn_of_zone(void)
{
    const char *fault;
    const xl_zone_t *own = xl_zones_default(&fault);
    int i;

    if (!fault || ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_CONFIG)
        return;
    for (i = 0; i < registry->nelts; i++) {
        const xl_limit_t *limit = APR_ARRAY_IDX(registry, i, xl_registered_t).limit;

        if (limit->dimension != XL_DIM_QUOTA || limit->period.zone != own)
            continue;
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, NULL,
                     "xlimit(102): %s: the period on line %d of %s uses UTC; name a zone with tz=Europe/Berlin", fault,
                     limit->line, limit->file);
        return;
    }
}

int xl_config_check(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server)
{
    int classes, accounts, names, zones;

    identify(pconf, ptemp, main_server);
    warn_of_zone();
    classes = xl_classes_check(pconf, ptemp);
    accounts = xl_accounts_apply(pconf, main_server);
    names = check_names(ptemp, main_server);
    zones = xl_keyzones_resolve();
    if (zones == OK && !xl_keyspace_check())
        zones = HTTP_INTERNAL_SERVER_ERROR;
    return classes != OK ? classes : accounts != OK ? accounts : names != OK ? names : zones;
}
