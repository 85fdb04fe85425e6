"""Makes the data of this example: houses of a town that does not exist, the same ones at every call.

What a price depends on is written in `price_of`; the rest is chance. Some years of building are missing, as in life.
"""

import csv
import random
from pathlib import Path

DISTRICTS = {"harbor": 1.25, "old-town": 1.4, "hillside": 1.1, "station": 0.85, "meadows": 0.95}
COLUMNS = ["district", "area", "rooms", "year", "garden", "price"]


def house(chance: random.Random) -> dict[str, object]:
    district = chance.choices(list(DISTRICTS), weights=[2, 1, 2, 3, 4])[0]
    area = round(min(max(chance.lognormvariate(4.6, 0.35), 28), 320), 1)
    rooms = max(1, min(12, round(area / 27 + chance.gauss(0, 0.7))))
    year = chance.randint(1880, 1939) if district == "old-town" else chance.randint(1925, 2023)
    garden = "yes" if chance.random() < (0.7 if district in ("meadows", "hillside") else 0.2) else "no"
    price = price_of(district, area, rooms, year, garden) * chance.gauss(1, 0.06)
    known_year = "" if chance.random() < 0.04 else year
    values = (district, area, rooms, known_year, garden, round(price / 100) * 100)
    return dict(zip(COLUMNS, values, strict=True))


def price_of(district: str, area: float, rooms: int, year: int, garden: str) -> float:
    age = 2024 - year
    wear = 1 - 0.004 * min(age, 60) + (0.002 * max(0, age - 80))  # old houses are worth something again
    return DISTRICTS[district] * (20000 + 2400 * area + 6000 * rooms) * wear * (1.07 if garden == "yes" else 1)


def write(path: Path, rows: int, seed: int) -> None:
    chance = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(house(chance) for _ in range(rows))


if __name__ == "__main__":
    folder = Path(__file__).parent / "data"
    write(folder / "houses.csv", 800, seed=1)
    write(folder / "houses-eval.csv", 200, seed=2)
