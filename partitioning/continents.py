"""Which continent a country belongs to, for tables by continent.

Countries bear the names of Natural Earth as the npm package world-atlas has them
(https://github.com/topojson/world-atlas). The continents are those of the United Nations' M49
standard (https://unstats.un.org/unsd/methodology/m49), with North America down to Panama; M49
counts all of Russia as Europe, and Turkey, Cyprus, Georgia, Armenia, Azerbaijan and Kazakhstan as
Asia. The names of disputed places are Natural Earth's, and nobody's claim is meant.
"""

import numpy as np
import numpy.typing as npt

CONTINENTS: dict[str, tuple[str, ...]] = {
    continent: tuple(name.strip() for name in names.split(";"))
    for continent, names in {
        "Africa": """Algeria; Angola; Benin; Botswana; Br. Indian Ocean Ter.; Burkina Faso; Burundi;
            Cabo Verde; Cameroon; Central African Rep.; Chad; Comoros; Congo; Côte d'Ivoire;
            Dem. Rep. Congo; Djibouti; Egypt; Eq. Guinea; Eritrea; Ethiopia; Gabon; Gambia; Ghana;
            Guinea; Guinea-Bissau; Kenya; Lesotho; Liberia; Libya; Madagascar; Malawi; Mali;
            Mauritania; Mauritius; Morocco; Mozambique; Namibia; Niger; Nigeria; Rwanda; S. Sudan;
            Saint Helena; São Tomé and Principe; Senegal; Seychelles; Sierra Leone; Somalia;
            Somaliland; South Africa; Sudan; Tanzania; Togo; Tunisia; Uganda; W. Sahara; Zambia;
            Zimbabwe; eSwatini""",
        "Antarctica": "Antarctica; Fr. S. Antarctic Lands; Heard I. and McDonald Is.; "
        "S. Geo. and the Is.",
        "Asia": """Afghanistan; Akrotiri; Armenia; Azerbaijan; Bahrain; Baikonur; Bangladesh;
            Bhutan; Brunei; Cambodia; China; Cyprus; Cyprus U.N. Buffer Zone; Dhekelia; Georgia;
            Hong Kong; India; Indonesia; Iran; Iraq; Israel; Japan; Jordan; Kazakhstan; Kuwait;
            Kyrgyzstan; Laos; Lebanon; Macao; Malaysia; Maldives; Mongolia; Myanmar; N. Cyprus;
            Nepal; North Korea; Oman; Pakistan; Palestine; Philippines; Qatar; Saudi Arabia;
            Scarborough Reef; Siachen Glacier; Singapore; South Korea; Spratly Is.; Sri Lanka;
            Syria; Taiwan; Tajikistan; Thailand; Timor-Leste; Turkey; Turkmenistan;
            United Arab Emirates; Uzbekistan; Vietnam; Yemen""",
        "Europe": """Albania; Andorra; Austria; Belarus; Belgium; Bosnia and Herz.; Bulgaria;
            Croatia; Czechia; Denmark; Estonia; Faeroe Is.; Finland; France; Germany; Gibraltar;
            Greece; Guernsey; Hungary; Iceland; Ireland; Isle of Man; Italy; Jersey; Kosovo; Latvia;
            Liechtenstein; Lithuania; Luxembourg; Macedonia; Malta; Moldova; Monaco; Montenegro;
            Netherlands; Norway; Poland; Portugal; Romania; Russia; San Marino; Serbia; Slovakia;
            Slovenia; Spain; Sweden; Switzerland; Ukraine; United Kingdom; Vatican; Åland""",
        "North America": """Anguilla; Antigua and Barb.; Aruba; Bahamas; Bajo Nuevo Bank; Barbados;
            Belize; Bermuda; British Virgin Is.; Canada; Cayman Is.; Clipperton I.; Costa Rica;
            Cuba; Curaçao; Dominica; Dominican Rep.; El Salvador; Greenland; Grenada; Guatemala;
            Haiti; Honduras; Jamaica; Mexico; Montserrat; Nicaragua; Panama; Puerto Rico;
            Saint Lucia; Serranilla Bank; Sint Maarten; St-Barthélemy; St-Martin;
            St. Kitts and Nevis; St. Pierre and Miquelon; St. Vin. and Gren.; Trinidad and Tobago;
            Turks and Caicos Is.; U.S. Virgin Is.; USNB Guantanamo Bay;
            United States of America""",
        "Oceania": """American Samoa; Ashmore and Cartier Is.; Australia; Cook Is.; Coral Sea Is.;
            Fiji; Fr. Polynesia; Guam; Indian Ocean Ter.; Kiribati; Marshall Is.; Micronesia;
            N. Mariana Is.; Nauru; New Caledonia; New Zealand; Niue; Norfolk Island; Palau;
            Papua New Guinea; Pitcairn Is.; Samoa; Solomon Is.; Tonga; Tuvalu;
            U.S. Minor Outlying Is.; Vanuatu; Wallis and Futuna Is.""",
        "South America": """Argentina; Bolivia; Brazil; Chile; Colombia; Ecuador; Falkland Is.;
            Guyana; Paraguay; Peru; Suriname; Uruguay; Venezuela""",
    }.items()
}
CONTINENT_OF = {name: continent for continent, names in CONTINENTS.items() for name in names}


def continents_of(countries: npt.ArrayLike) -> np.ndarray:
    """Continents, str (N,), of countries by name (N,); "" for the sea ("") and unknown names."""
    return np.array([CONTINENT_OF.get(str(name), "") for name in np.atleast_1d(countries)], object)
