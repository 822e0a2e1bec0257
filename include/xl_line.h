/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_line: one line of a limit while it is read: its kind says which options
 * make sense. What limits.c, options.c and line.c share; nobody else includes
 * it. Configuration time, or .htaccess at a request.
 */
#ifndef XL_LINE_H
#define XL_LINE_H

#include "xl_commands.h"

enum {
    XL_FOR_QUOTA = 1,       /* of all */
    XL_FOR_KEYED_QUOTA = 2,
    XL_FOR_SESSION = 4,     /* bandwidth and upload, by key; zones as client */
    XL_FOR_CLIENT = 8,
    XL_FOR_ALL = 16,
    XL_FOR_REQUESTS = 32,
    XL_FOR_CONNECTIONS = 64,
    XL_FOR_PENALTY = 128,
    XL_FOR_BLOCK = 256,
    XL_FOR_RATE = XL_FOR_SESSION | XL_FOR_CLIENT | XL_FOR_ALL,
    XL_FOR_ANY_QUOTA = XL_FOR_QUOTA | XL_FOR_KEYED_QUOTA,
    XL_FOR_COSTING = XL_FOR_ANY_QUOTA | XL_FOR_REQUESTS | XL_FOR_PENALTY,
    XL_FOR_TIMED = XL_FOR_ANY_QUOTA | XL_FOR_CONNECTIONS | XL_FOR_BLOCK,
    XL_FOR_REFUSING = XL_FOR_COSTING | XL_FOR_CONNECTIONS | XL_FOR_BLOCK,
    XL_FOR_COUNTED = XL_FOR_REFUSING | XL_FOR_CLIENT | XL_FOR_ALL,
    XL_FOR_ANY = XL_FOR_COUNTED | XL_FOR_SESSION
};

typedef struct {
    const cmd_parms *cmd;
    xl_limit_t *limit;
    xl_dir_conf_t *conf; /* of the section it stands in */
    unsigned kind;       /* the one XL_FOR_ that it is */
    const char *key;     /* in our spelling, or a zone's name; NULL: it has none */
    const char *period;  /* as written */
    unsigned seen;       /* bit per option */
} xl_line_t;

/* Begins a line: the limit, and whether it may stand here at all. */
const char *xl_line_begin(xl_line_t *line, cmd_parms *cmd, xl_dir_conf_t *conf, xl_dimension_e dimension);

/* The next word, which must be there. */
const char *xl_line_required(const xl_line_t *line, const char **args, const char **word, const char *what);

/* The key. session: whether that is one of those that make sense. */
const char *xl_line_key(xl_line_t *line, const char *word, bool session);

/* All options to the end of the line (options.c). */
const char *xl_line_options(xl_line_t *line, const char *args);
bool xl_line_saw(const xl_line_t *line, const char *option);

/* Names it, looks for a namesake, and notes it where it belongs. */
const char *xl_line_end(xl_line_t *line);

#endif
