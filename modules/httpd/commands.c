/* SPDX-License-Identifier: Apache-2.0
 *
 * commands: the table of directives, and the readers of all but the limits
 * themselves: what happens when one is exceeded, who is exempt, what is
 * inherited, what a client is, the engine. Also what all readers share: words, errors, the place
 * a directive stands in. Values go into the configuration of the section or of
 * the server at hand; nothing else is touched. Configuration time, one thread;
 * .htaccess at a request, in that request's pool.
 */
#include "xl_classes.h"
#include "xl_commands.h"

#include "apr_lib.h"
#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);

#define BUFFER_LEAST_BYTES UINT64_C(1024)
#define FLUSH_LEAST_MS 100 /* what mod_watchdog can do */
#define NAME_MAX_BYTES 64
#define WAITING_MOST 1000000

const char *xl_command_error(const cmd_parms *cmd, const char *format, ...)
{
    const char *text;
    va_list args;

    va_start(args, format);
    text = apr_pvsprintf(cmd->pool, format, args);
    va_end(args);
    return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", text, NULL);
}

bool xl_command_runtime(const cmd_parms *cmd)
{
    return cmd->pool == cmd->temp_pool; /* as ap_check_cmd_context() tells it */
}

const char *xl_command_in_scope(cmd_parms *cmd, xl_dir_conf_t *conf)
{
    const char *error = ap_check_cmd_context(cmd, NOT_IN_LIMIT);

    if (!error && !xl_command_runtime(cmd))
        xl_config_note_section(cmd, conf);
    return error;
}

static const char *skip_blanks(const char *text)
{
    while (apr_isspace(*text))
        text++;
    return text;
}

/* Behind the closing quote, or NULL. Escapes as in ap_getword_conf(). */
static const char *quote_end(const char *text)
{
    char quote = *text++;

    for (; *text && *text != quote; text++) {
        if (*text == '\\' && (text[1] == quote || text[1] == '\\'))
            text++;
    }
    return *text ? text + 1 : NULL;
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'';
}

/* The quote that opens the word or its value, or NULL. */
static const char *opening_quote(const char *text)
{
    if (is_quote(*text))
        return text;
    while (*text && *text != '=' && !apr_isspace(*text))
        text++;
    return *text == '=' && is_quote(text[1]) ? text + 1 : NULL;
}

const char *xl_command_word(const cmd_parms *cmd, const char **line, const char **word)
{
    const char *start = skip_blanks(*line), *quote = opening_quote(start), *end;

    *line = start;
    *word = NULL;
    if (!*start)
        return NULL;
    if (!quote) {
        *word = ap_getword_conf(cmd->pool, line);
        return NULL;
    }
    end = quote_end(quote);
    if (!end)
        return xl_command_error(cmd, "%s: the quote is not closed", start);
    if (*end && !apr_isspace(*end))
        return xl_command_error(cmd, "%s: a blank must follow the closing quote", start);
    *word = apr_pstrmemdup(cmd->pool, start, (apr_size_t)(quote - start));
    *word = apr_pstrcat(cmd->pool, *word, ap_getword_conf(cmd->pool, &quote), NULL);
    *line = quote;
    return NULL;
}

const char *xl_command_name_fault(const char *name)
{
    static const char known[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strlen(name);
    bool right = length && length <= NAME_MAX_BYTES && !name[strspn(name, known)];

    return right ? NULL : "right would be 1 to 64 letters, digits, dots, hyphens and underscores";
}

/* Decisions come before anybody has been asked for a password. */
static const char *asks_for_user(const char *text)
{
    static const char *const names[] = {"REMOTE_USER", "AUTH_TYPE"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (ap_strcasestr(text, names[i]))
            return names[i];
    return NULL;
}

const char *xl_command_expr(const cmd_parms *cmd, const char *text, unsigned flags, ap_expr_info_t **expr)
{
    const char *fault = NULL, *user = asks_for_user(text);

    if (!*skip_blanks(text))
        return xl_command_error(cmd, "the expression is empty");
    if (user)
        return xl_command_error(cmd, "\"%s\" asks for %s, which is not known before authentication; right would be what "
                                     "the client sends, %%{req_novary:Authorization}", text, user);
    flags |= AP_EXPR_FLAG_DONT_VARY;
    if (xl_command_runtime(cmd))
        flags |= AP_EXPR_FLAG_RESTRICTED;
    *expr = ap_expr_parse_cmd(cmd, text, flags, &fault, NULL);
    return fault ? xl_command_error(cmd, "\"%s\" is no expression: %s", text, fault) : NULL;
}

/* "Location /dl" of `<Location "/dl">`. */
static const char *section_name(const cmd_parms *cmd, const ap_directive_t *section)
{
    const char *close = ap_strrchr_c(section->args, '>');
    size_t length = close ? (size_t)(close - section->args) : strlen(section->args);
    const char *args = apr_pstrmemdup(cmd->pool, section->args, length), *end;

    args = skip_blanks(args);
    end = is_quote(*args) ? quote_end(args) : NULL;
    if (end && !*skip_blanks(end))
        args = ap_getword_conf(cmd->pool, &args);
    return *args ? apr_pstrcat(cmd->pool, section->directive + 1, " ", args, NULL) : section->directive + 1;
}

const char *xl_command_place(const cmd_parms *cmd)
{
    const char *place = NULL, *file = cmd->directive->filename;
    const ap_directive_t *section;

    for (section = cmd->directive->parent; section; section = section->parent) {
        const char *name;

        if (!ap_cstr_casecmp(section->directive, "<VirtualHost"))
            break;
        name = section_name(cmd, section);
        place = place ? apr_pstrcat(cmd->pool, name, " > ", place, NULL) : name;
    }
    if (xl_command_runtime(cmd)) {
        const char *htaccess = apr_pstrcat(cmd->pool, "htaccess ", ap_make_dirstr_parent(cmd->pool, file), NULL);

        place = place ? apr_pstrcat(cmd->pool, htaccess, " > ", place, NULL) : htaccess;
    }
    return place ? place : "";
}

/* What can be exceeded, in words. */
static const struct {
    const char *name;
    xl_dimension_e dimension;
} refusing[] = {
    {"quota", XL_DIM_QUOTA},     {"requests", XL_DIM_REQUESTS}, {"connections", XL_DIM_CONNECTIONS},
    {"penalty", XL_DIM_PENALTY}, {"block", XL_DIM_BLOCK},
};

#define REFUSING (sizeof(refusing) / sizeof(*refusing))

static const char *xl_set_exceeded(cmd_parms *cmd, void *dir, const char *args)
{
    xl_dir_conf_t *conf = dir;
    const char *error = xl_command_in_scope(cmd, conf), *what;
    size_t i;

    if (error || (error = xl_command_word(cmd, &args, &what)))
        return error;
    if (what && !ap_cstr_casecmp(what, "any"))
        return xl_action_parse(cmd, args, &conf->exceeded_any);
    for (i = 0; i < REFUSING && (!what || ap_cstr_casecmp(what, refusing[i].name)); i++)
        continue;
    if (i < REFUSING)
        return xl_action_parse(cmd, args, &conf->exceeded[refusing[i].dimension]);
    return xl_command_error(cmd, "\"%s\" is not what can be exceeded; right would be quota, requests, connections, "
                                 "penalty, block or any",
                            what ? what : "");
}

static const char *xl_set_headers(cmd_parms *cmd, void *dir, const char *arg)
{
    xl_dir_conf_t *conf = dir;
    const char *error = xl_command_in_scope(cmd, conf);

    if (error)
        return error;
    if (!ap_cstr_casecmp(arg, "off"))
        conf->headers = XL_HEADERS_OFF;
    else if (!ap_cstr_casecmp(arg, "draft10"))
        conf->headers = XL_HEADERS_DRAFT10;
    else if (!ap_cstr_casecmp(arg, "legacy"))
        conf->headers = XL_HEADERS_LEGACY;
    else
        return xl_command_error(cmd, "\"%s\" is not known; right would be Off, Draft10 or Legacy", arg);
    return NULL;
}

static const char *xl_set_exempt(cmd_parms *cmd, void *dir, const char *args)
{
    static const char form[] = "right would be class=NAME, when=\"expr\" or handler=NAME";
    xl_dir_conf_t *conf = dir;
    const char *error = xl_command_in_scope(cmd, conf), *word, *more;
    xl_exempt_t exempt = {0};

    if (error || (error = xl_command_word(cmd, &args, &word)) || (error = xl_command_word(cmd, &args, &more)))
        return error;
    if (!word)
        return xl_command_error(cmd, "nobody is named; %s", form);
    if (more)
        return xl_command_error(cmd, "\"%s\" is one too many; %s, one to a line", more, form);
    if (!ap_cstr_casecmpn(word, "class=", 6)) {
        error = xl_class_parse(cmd, word + 6, &exempt.clients);
        if (error)
            return error;
    } else if (!ap_cstr_casecmpn(word, "when=", 5)) {
        exempt.when_text = word + 5;
        error = xl_command_expr(cmd, exempt.when_text, 0, &exempt.when);
        if (error)
            return error;
    } else if (!ap_cstr_casecmpn(word, "handler=", 8) && word[8]) {
        exempt.handler = word + 8;
    } else {
        return xl_command_error(cmd, "\"%s\" is not known; %s", word, form);
    }
    exempt.account = xl_command_account(cmd);
    exempt.file = apr_pstrdup(cmd->pool, cmd->directive->filename);
    exempt.line = cmd->directive->line_num;
    if (!conf->exempts)
        conf->exempts = apr_array_make(cmd->pool, 2, sizeof(xl_exempt_t));
    APR_ARRAY_PUSH(conf->exempts, xl_exempt_t) = exempt;
    return NULL;
}

static const char *xl_set_inherit(cmd_parms *cmd, void *dir, int on)
{
    xl_dir_conf_t *conf = dir;

    conf->inherit = on;
    if (!cmd->path)
        xl_config_server(cmd->server)->apart = !on;
    return xl_command_in_scope(cmd, conf);
}

static const char *xl_set_backend_rate(cmd_parms *cmd, void *dir, int on)
{
    xl_dir_conf_t *conf = dir;

    conf->backend_rate = on;
    return xl_command_in_scope(cmd, conf);
}

static const char *read_bits(const cmd_parms *cmd, const char *text, int most, const char *of, int *bits)
{
    uint64_t number;

    if (xl_units_number(text, (uint64_t)most, &number))
        return xl_command_error(cmd, "\"%s\" is not a number of bits of an %s address; right would be 1 to %d", text,
                                of, most);
    *bits = (int)number;
    return NULL;
}

static const char *xl_set_client_prefix(cmd_parms *cmd, void *dir, const char *v4, const char *v6)
{
    const char *error = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);
    xl_server_conf_t *conf = xl_config_server(cmd->server);

    (void)dir;
    if (!error)
        error = read_bits(cmd, v4, 32, "IPv4", &conf->prefix_v4);
    return error ? error : read_bits(cmd, v6, 128, "IPv6", &conf->prefix_v6);
}

/* The engine's settings, or NULL and why the directive may not stand here. */
static xl_engine_conf_t *engine_of(cmd_parms *cmd, const char **error)
{
    *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    return *error ? NULL : xl_config_server(cmd->server)->engine;
}

static const char *read_size(const cmd_parms *cmd, const char *text, uint64_t least, const char *otherwise,
                             uint64_t *bytes)
{
    uint64_t size = 0;
    const char *fault = xl_units_size(text, &size);

    if (fault)
        return xl_command_error(cmd, "\"%s\" is not a size: %s", text, fault);
    if (size < least)
        return xl_command_error(cmd, "\"%s\" is too little; right would be %" APR_UINT64_T_FMT " bytes or more%s", text,
                                (apr_uint64_t)least, otherwise);
    *bytes = size;
    return NULL;
}

static const char *xl_set_state_file(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *error;
    xl_engine_conf_t *engine = engine_of(cmd, &error);

    (void)dir;
    if (error)
        return error;
    if (!ap_cstr_casecmp(arg, "none")) {
        engine->state_file = "none";
        return NULL;
    }
    engine->state_file = *arg ? ap_server_root_relative(cmd->pool, arg) : NULL;
    if (!engine->state_file || arg[strlen(arg) - 1] == '/')
        return xl_command_error(cmd, "\"%s\" is not a file's path; right would be one, or none", arg);
    return NULL;
}

static const char *xl_set_state_error(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *error;
    xl_engine_conf_t *engine = engine_of(cmd, &error);

    (void)dir;
    if (error)
        return error;
    if (!ap_cstr_casecmp(arg, "fail"))
        engine->state_error_fail = true;
    else if (!ap_cstr_casecmp(arg, "fresh"))
        engine->state_error_fail = false;
    else
        return xl_command_error(cmd, "\"%s\" is not known; right would be fresh or fail", arg);
    return NULL;
}

static const char *xl_set_flush(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *error, *fault;
    xl_engine_conf_t *engine = engine_of(cmd, &error);
    uint64_t ms = 0;

    (void)dir;
    if (error)
        return error;
    fault = xl_units_time(arg, &ms);
    if (fault)
        return xl_command_error(cmd, "\"%s\" is not a time: %s", arg, fault);
    if (ms < FLUSH_LEAST_MS)
        return xl_command_error(cmd, "\"%s\" is too often; right would be %dms or more", arg, FLUSH_LEAST_MS);
    engine->flush_ms = ms;
    return NULL;
}

static const char *xl_set_memory(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *error;
    xl_engine_conf_t *engine = engine_of(cmd, &error);

    (void)dir;
    return error ? error : read_size(cmd, arg, 1, ", or no XLimitMemory at all", &engine->memory_bytes);
}

static const char *xl_set_engine(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *error;
    xl_engine_conf_t *engine = engine_of(cmd, &error);

    (void)dir;
    if (error)
        return error;
    if (!ap_cstr_casecmp(arg, "auto"))
        engine->engine = XL_ENGINE_AUTO;
    else if (!ap_cstr_casecmp(arg, "async"))
        engine->engine = XL_ENGINE_ASYNC;
    else if (!ap_cstr_casecmp(arg, "blocking"))
        engine->engine = XL_ENGINE_BLOCKING;
    else
        return xl_command_error(cmd, "\"%s\" is not known; right would be auto, async or blocking", arg);
    return NULL;
}

static const char *xl_set_waiting(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *error;
    xl_engine_conf_t *engine = engine_of(cmd, &error);
    uint64_t count;

    (void)dir;
    if (error)
        return error;
    if (!strcmp(arg, "0") || xl_units_number(arg, WAITING_MOST, &count))
        return xl_command_error(cmd, "\"%s\" is not a count of requests; right would be 1 to %d, and nodelay where "
                                "nobody shall wait", arg, WAITING_MOST);
    engine->waiting = (uint32_t)count;
    return NULL;
}

static const char *xl_set_buffer(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *error;
    xl_engine_conf_t *engine = engine_of(cmd, &error);

    (void)dir;
    return error ? error : read_size(cmd, arg, BUFFER_LEAST_BYTES, "", &engine->buffer_bytes);
}

static const char *xl_set_spool(cmd_parms *cmd, void *dir, const char *arg, const char *where)
{
    const char *error;
    xl_engine_conf_t *engine = engine_of(cmd, &error);

    (void)dir;
    if (error)
        return error;
    engine->spool_dir = NULL;
    if (!ap_cstr_casecmp(arg, "off")) {
        engine->spool_bytes = 0;
        return where ? xl_command_error(cmd, "\"%s\" is senseless behind off", where) : NULL;
    }
    error = read_size(cmd, arg, 1, ", or off", &engine->spool_bytes);
    if (error || !where)
        return error;
    engine->spool_dir = ap_server_root_relative(cmd->pool, where);
    if (!engine->spool_dir || !ap_is_directory(cmd->temp_pool, engine->spool_dir))
        return xl_command_error(cmd, "\"%s\" is not a directory", where);
    return NULL;
}

/* clang-format off */
const command_rec xl_commands[] = {
#define XL_DIRECTIVE(name, args, setter, contexts, syntax, fallback, help) \
    AP_INIT_##args(name, setter, NULL, contexts, syntax ": " help),
#include "xl_directives.def"
    {.name = NULL}
};
/* clang-format on */
