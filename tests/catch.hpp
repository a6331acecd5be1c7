#pragma once
/// Catch2 in both versions that Debian carries: v2 (Debian 12) and v3 (Debian 13).
#if __has_include(<c10/util/Logging.h>)
#include <c10/util/Logging.h>  // before Catch, whose CHECK it would replace by one that no test sees
#undef CHECK
#endif
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
