// No argument of a job is called as one of its options: CLI11 of Debian 13 refuses that when the program
// starts, CLI11 of Debian 12 does not.
#include <set>
#include <string>

#include "catch.hpp"
#include "job.hpp"

using namespace bitfall;

TEST_CASE("arguments and options of a job have different names") {
  for (const auto& add :
       {register_pack, register_collect, register_quantize, register_compress, register_finetune,
        register_evaluate, register_inspect, register_verify, register_export, register_import,
        register_report, register_doctor, register_check}) {
    CLI::App app;
    CommonOptions common;
    const JobEntry job = add(app, common);
    INFO(job.parser->get_name());
    std::set<std::string> names;
    for (const CLI::Option* option : job.parser->get_options()) {
      for (const std::string& name : option->get_lnames()) REQUIRE(names.insert(name).second);
      if (option->get_positional()) REQUIRE(names.insert(option->get_name(/*positional=*/true)).second);
    }
    REQUIRE(names.size() > 3);
  }
}
