/* What every processor of the architecture runs. */
#define BG_ISA baseline
#include "body.h"
