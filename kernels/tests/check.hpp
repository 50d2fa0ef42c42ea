// What the C++ tests share: checks that count their failures, and say where and what.
#pragma once

#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

namespace vp3d::test {

inline int checks = 0;
inline int failures = 0;

inline void check(bool holds, const std::string& what, const char* file, int line) {
  ++checks;
  if (holds) return;
  ++failures;
  std::cerr << file << ':' << line << ": " << what << '\n';
}

// Does `call` throw an Error whose message contains `part`?
template <class Error, class Call>
void check_throws(const Call& call, const std::string& part, const char* file, int line) {
  std::string found = "nothing is thrown";
  try {
    call();
  } catch (const Error& error) {
    found = error.what();
    if (found.find(part) != std::string::npos) found.clear();
  } catch (const std::exception& error) {
    found = std::string("another type is thrown: ") + error.what();
  }
  check(found.empty(), "expected \"" + part + "\": " + found, file, line);
}

// For main to return. Nothing checked is a failure.
inline int result() {
  std::cout << checks << " checks, " << failures << " failures\n";
  return checks > 0 && failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace vp3d::test

#define CHECK(condition) vp3d::test::check((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQUAL(a, b) vp3d::test::check((a) == (b), #a " is not " #b, __FILE__, __LINE__)
#define CHECK_THROWS(Error, call, part) \
  vp3d::test::check_throws<Error>([&] { call; }, part, __FILE__, __LINE__)
