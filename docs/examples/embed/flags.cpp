// The flags that are safe for wasmtime here, as a map, from a cache in the program's own folder.
//
//   c++ flags.cpp $(pkg-config --cflags --libs cpuprobe) -o flags && ./flags flags.cache
#include <cpuprobe.h>

#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

static std::map<std::string, bool>
safe_flags(const std::string &cache)
{
    std::string text(CPUPROBE_FLAGS_BYTES, '\0');
    long length = cpuprobe_safe_flags_cached(cache.c_str(), 0, &text[0], text.size());
    if (length < 0)
        throw std::runtime_error(cpuprobe_error_text(length));
    text.resize(static_cast<std::size_t>(length));

    std::map<std::string, bool> flags;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        flags[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1) == "true";
    return flags;
}

int
main(int count, char **arguments)
{
    if (count < 2)
        return 2;
    for (const auto &flag : safe_flags(arguments[1]))
        std::cout << flag.first << '=' << (flag.second ? "true" : "false") << '\n';
}
