/* SPDX-License-Identifier: Apache-2.0
 *
 * actions: reads what happens to an offender, from XLimitExceeded and from the
 * option exceeded=. A redirect's URL is checked here, once and for all (xl_url.h),
 * its %{...} compiled. Nothing is evaluated here.
 */
#include "xl_commands.h"
#include "xl_url.h"

#include "apr_strings.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);

#define WORDS_MAX 4

typedef struct {
    const cmd_parms *cmd;
    const char *text;
    const char *word[WORDS_MAX]; /* [0] names the action */
    int words;
} words_t;

static bool parts; /* some speed of the configuration has more than a rate */

bool xl_config_has_parts(void)
{
    return parts;
}

void xl_actions_reset(void)
{
    parts = false;
}

typedef const char *reader_t(const words_t *words, xl_action_t *action);

/* 0: not one that makes a client go elsewhere. */
static int redirect_code(const char *text)
{
    static const char *const codes[] = {"301", "302", "303", "307", "308"};
    size_t i;

    for (i = 0; i < sizeof(codes) / sizeof(*codes); i++)
        if (!strcmp(text, codes[i]))
            return atoi(text);
    return 0;
}

static const char *read_redirect(const words_t *words, xl_action_t *action)
{
    const char *url = words->word[1], *fault;
    ap_expr_info_t *expr = NULL;

    action->status = words->words == 3 ? redirect_code(words->word[2]) : HTTP_MOVED_TEMPORARILY;
    action->url = url;
    fault = xl_url_fault(url, strstr(url, "%{") != NULL);
    if (fault)
        return xl_command_error(words->cmd, "\"%s\" is not a URL to redirect to: %s", url, fault);
    if (!action->status)
        return xl_command_error(words->cmd,
                                "\"%s\" is not a status of a redirect; "
                                "right would be 301, 302, 303, 307 or 308",
                                words->word[2]);
    if (!strstr(url, "%{"))
        return NULL;
    fault = xl_command_expr(words->cmd, url, AP_EXPR_FLAG_STRING_RESULT, &expr);
    action->url_expr = expr;
    return fault;
}

static const char *read_status(const words_t *words, xl_action_t *action)
{
    const char *code = words->word[1];

    if (strlen(code) != 3 || strspn(code, "0123456789") != 3 || code[0] < '4' || code[0] > '5')
        return xl_command_error(words->cmd, "\"%s\" is not a status to refuse with; right would be 400 to 599", code);
    action->status = atoi(code);
    return NULL;
}

/* A limit that holds for whoever is answered with this speed. It has the key of
 * the limit that he exceeds. */
static xl_limit_t *part_of_speed(const words_t *words, xl_dimension_e dimension, const char *name)
{
    xl_limit_t *limit = apr_pcalloc(words->cmd->pool, sizeof(*limit));

    limit->dimension = dimension;
    limit->delay = XL_NO_DELAY;
    limit->name = name;
    limit->place = "";
    limit->file = apr_pstrdup(words->cmd->pool, words->cmd->directive->filename);
    limit->line = words->cmd->directive->line_num;
    return limit;
}

#define CONNECTIONS_MOST UINT64_C(1000000)

/* "10/s" is a rate of requests, "5" a number at once. */
static const char *read_part(const words_t *words, const char *word, xl_action_t *action)
{
    xl_rate_t rate;
    uint64_t most;

    if (xl_command_runtime(words->cmd))
        return xl_command_error(words->cmd, "\"%s\" behind a speed is for the server's configuration, not for .htaccess",
                                word);
    parts = true;
    if (!action->requests && !action->connections && !xl_units_per_time(word, &rate)) {
        xl_limit_t *limit = part_of_speed(words, XL_DIM_REQUESTS, "speed-requests");

        limit->rate = rate;
        action->requests = limit;
    } else if (!action->connections && !xl_units_number(word, CONNECTIONS_MOST, &most)) {
        xl_limit_t *limit = part_of_speed(words, XL_DIM_CONNECTIONS, "speed-connections");

        limit->amount = most;
        action->connections = limit;
    } else {
        return xl_command_error(words->cmd, "\"%s\" is wrong; right would be speed RATE [COUNT/TIME] [COUNT]: bytes per "
                                            "second, requests per time, requests at once", word);
    }
    return NULL;
}

static const char *read_speed(const words_t *words, xl_action_t *action)
{
    const char *fault = xl_units_rate(words->word[1], &action->rate), *error = NULL;

    if (fault)
        return xl_command_error(words->cmd, "\"%s\" is not a rate: %s", words->word[1], fault);
    for (int i = 2; i < words->words && !error; i++)
        error = read_part(words, words->word[i], action);
    return error;
}

static const struct {
    const char *name;
    xl_action_e kind;
    int least, most; /* words */
    reader_t *read;
    const char *form;
} actions[] = {
    {"redirect", XL_ACT_REDIRECT, 2, 3, read_redirect, "redirect URL [301|302|303|307|308]"},
    {"status", XL_ACT_STATUS, 2, 2, read_status, "status CODE"},
    {"speed", XL_ACT_SPEED, 2, 4, read_speed, "speed RATE [COUNT/TIME] [COUNT]"},
    {"close", XL_ACT_CLOSE, 1, 1, NULL, "close"},
    {"pass", XL_ACT_PASS, 1, 1, NULL, "pass"},
};

#define ACTIONS (sizeof(actions) / sizeof(*actions))

/* Splits the text; the words beyond the last possible one are counted only. */
static const char *split(words_t *words)
{
    const char *line = words->text, *word, *error;

    while (!(error = xl_command_word(words->cmd, &line, &word)) && word) {
        if (words->words < WORDS_MAX)
            words->word[words->words] = word;
        words->words++;
    }
    return error;
}

const char *xl_action_parse(const cmd_parms *cmd, const char *text, xl_action_t *action)
{
    words_t words = {.cmd = cmd, .text = text};
    const char *error = split(&words);
    xl_action_t read = {0};
    size_t i;

    if (error)
        return error;
    for (i = 0; i < ACTIONS && words.words && ap_cstr_casecmp(words.word[0], actions[i].name); i++)
        continue;
    if (i == ACTIONS || !words.words)
        return xl_command_error(cmd,
                                "\"%s\" is not an action; right would be redirect URL, status CODE, speed RATE, "
                                "close or pass",
                                words.words ? words.word[0] : "");
    if (words.words < actions[i].least || words.words > actions[i].most)
        return xl_command_error(cmd, "\"%s\" has too %s words; right would be %s", text,
                                words.words < actions[i].least ? "few" : "many", actions[i].form);
    read.kind = actions[i].kind;
    error = actions[i].read ? actions[i].read(&words, &read) : NULL;
    if (!error)
        *action = read;
    return error;
}
