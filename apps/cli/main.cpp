// SPDX-License-Identifier: Apache-2.0
// `invar`, the command line: reads the arguments, runs the command, turns what goes wrong into one line on stderr and an
// exit code (1: the run failed, 2: wrong usage, 130: Ctrl-C).
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <new>

#include <invar/error.h>

#include "commands.h"
#include "common.h"

namespace {

int fail(const char* message) {
    std::fflush(stdout);
    std::fprintf(stderr, "invar: error: %s\n", message);
    return invar::cli::kExitFailed;
}

int run(int argc, char** argv) {
    using namespace invar;
    try {
        int exit_code = 0;
        if (const std::function<int()> command = cli::parse_arguments(argc, argv, exit_code))
            exit_code = command();
        cli::flush_out();
        return exit_code;
    } catch (const Cancelled& error) {
        if (cli::interrupted()) return cli::kExitInterrupted;
        return fail(error.what());
    } catch (const std::bad_alloc&) {
        return fail("the host's memory is used up");
    } catch (const std::exception& error) {
        return fail(error.what());
    }
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
