/* SPDX-License-Identifier: MIT */
#include "client/reader.h"
